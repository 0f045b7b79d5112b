"""kamailio as our neighbour: a stateful proxy that stays in the path by Record-Route, forks, and registers."""

import re
import shutil
import subprocess

from bench import SIP_PORT, Failed, Skipped, is_bound, until

CONFIG = """#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
listen=udp:{ip}:{port}
listen=tcp:{ip}:{port}
{modules}
modparam("path", "use_received", 0)
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 1)

request_route {{
    if (!mf_process_maxfwd_header("20")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ route(MEDIA); t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "No Route Set");
        exit;
    }}
    t_check_trans();
    if (is_method("REGISTER")) {{ save("location"); exit; }}
    if (is_method("INVITE|SUBSCRIBE|REFER")) record_route();
    if (src_ip == {proxy}) {{
{inside}
    }} else if ($rU == "alice") {{
        if (!lookup("location")) {{ sl_send_reply("404", "Not Registered"); exit; }}
    }} else {{
        $du = "sip:{proxy}:{port}";
    }}
    route(MEDIA);
    t_relay();
}}
{media}
"""
NO_MEDIA = "route[MEDIA] { return; }"
MODULES = ("kex", "corex", "tm", "tmx", "sl", "rr", "pv", "maxfwd", "textops", "siputils", "xlog", "usrloc", "registrar", "path")


def version():
    said = subprocess.run(["kamailio", "-v"], capture_output=True, text=True).stdout
    return "kamailio " + re.search(r"kamailio (\S+)", said)[1]


def start(bench, inside, modules=(), media=NO_MEDIA, where=None):
    """Runs it at the bench's address `kamailio`; what comes from the proxy goes to all parties of `inside`.

    `modules`: more of them, with parameters; `media`: its `route[MEDIA]`; `where`: the address and port of a party."""
    if not shutil.which("kamailio"):
        raise Skipped("kamailio is not installed (Debian: kamailio)")
    ip, home = bench.ip("kamailio"), bench.folder / "kamailio"
    home.mkdir()
    where = where or (lambda who: (bench.ip(who), SIP_PORT))
    first, *more = ("{}:{}".format(*where(who)) for who in inside)
    onward = [f'        rewritehostport("{first}");', *(f'        append_branch("sip:bob@{other}");' for other in more)]
    path = home / "kamailio.cfg"
    path.write_text(CONFIG.format(ip=ip, port=SIP_PORT, proxy=bench.ip("proxy"), inside="\n".join(onward), media=media,
                                  modules="\n".join([*(f'loadmodule "{name}.so"' for name in MODULES), *modules])))
    child = bench.run(["kamailio", "-f", str(path), "-DD", "-E", "-w", str(home), "-Y", str(home), "-m", "32", "-M", "4",
                       "-P", str(home / "pid")], "kamailio.out")
    until("kamailio is up", lambda: child.poll() is not None or is_bound(ip, SIP_PORT, "tcp"))
    if child.poll() is not None:
        raise Failed(f"kamailio ended:\n{bench.log('kamailio.out')}")
