"""A PJSIP phone: commands as JSON lines on stdin, answers and events as JSON lines on stdout. Started by pjsip.py with
a Python that has pjsua2: pjsip_agent.py OPTIONS-AS-JSON."""

import json
import os
import select
import sys

import pjsua2 as pj

OPTIONS = json.loads(sys.argv[1])
# pjsua2 prints to stdout as well.
OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
TYPES = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}


def say(**what):
    OUT.write(json.dumps(what) + "\n")


class Call(pj.Call):
    def __init__(self, account, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        account.calls.append(self)
        self.number = len(account.calls) - 1
        self.account = account

    def onCallState(self, _):
        info = self.getInfo()
        say(event=info.stateText, call=self.number, code=info.lastStatusCode, reason=info.lastReason)

    def onCallMediaState(self, _):
        info = self.getInfo()
        for at, media in enumerate(info.media):
            say(event="MEDIA", call=self.number, status=media.status)
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                self.account.player.startTransmit(self.getAudioMedia(at))

    def onCallTsxState(self, prm):
        transaction = prm.e.body.tsxState.tsx
        if transaction.state == pj.PJSIP_TSX_STATE_COMPLETED or transaction.state == pj.PJSIP_TSX_STATE_TERMINATED:
            return
        say(event="TRANSACTION", call=self.number, method=transaction.method, role=transaction.role,
            code=transaction.statusCode)

    def onCallTransferStatus(self, prm):
        say(event="TRANSFER", call=self.number, code=prm.statusCode, final=prm.finalNotify)

    def onCallTransferRequest(self, prm):
        say(event="REFER", call=self.number, to=prm.dstUri)
        prm.newCall = Call(self.account)

    def onCallReplaceRequest(self, prm):
        say(event="REPLACES", call=self.number)
        prm.opt.audioCount = 1
        prm.opt.videoCount = 0

    def onCallReplaced(self, prm):
        say(event="REPLACED", call=self.number)

    def onDtmfDigit(self, prm):
        say(event="DIGIT", call=self.number, digit=prm.digit)


class Account(pj.Account):
    def __init__(self):
        super().__init__()
        self.calls = []

    def onRegState(self, prm):
        say(event="REGISTERED", code=prm.code)

    def onIncomingCall(self, prm):
        call = Call(self, prm.callId)
        say(event="INCOMING", call=call.number)
        answer = pj.CallOpParam()
        if OPTIONS.get("ring"):
            answer.statusCode = 180
            call.answer(answer)
        answer.statusCode = 200
        call.answer(answer)


def start():
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.userAgent = "interop"
    config.logConfig.level = config.logConfig.consoleLevel = OPTIONS.get("log", 4)
    config.medConfig.noVad = True
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = OPTIONS["ip"]
    transport.port = OPTIONS["port"]
    if OPTIONS["transport"] == "tls":
        tls = transport.tlsConfig
        tls.CaListFile, tls.certFile, tls.privKeyFile = OPTIONS["ca"], OPTIONS["certificate"], OPTIONS["key"]
        tls.verifyServer = tls.verifyClient = True
    endpoint.transportCreate(TYPES[OPTIONS["transport"]], transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 200 if codec.codecId.startswith("PCM") else 0)
    return endpoint


def account():
    config = pj.AccountConfig()
    config.idUri = f"sip:{OPTIONS['name']}@{OPTIONS.get('registrar', OPTIONS['ip'])}"
    if "registrar" in OPTIONS:
        config.regConfig.registrarUri = f"sip:{OPTIONS['registrar']}"
        path = pj.SipHeader()
        path.hName, path.hValue = "Supported", "path"
        config.regConfig.headers.append(path)
    config.regConfig.registerOnAdd = "registrar" in OPTIONS
    config.sipConfig.proxies.append(f"<sip:{OPTIONS['proxy']};transport={OPTIONS['transport']};lr>")
    media = config.mediaConfig.transportConfig
    media.boundAddress, media.port, media.portRange = OPTIONS["ip"], 26000, 200
    config.mediaConfig.srtpUse = getattr(pj, f"PJMEDIA_SRTP_{OPTIONS.get('srtp', 'disabled').upper()}")
    config.callConfig.prackUse = getattr(pj, f"PJSUA_100REL_{OPTIONS.get('prack', 'not_used').upper()}")
    if "timer" in OPTIONS:
        config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_REQUIRED if OPTIONS.get("timer_required") else pj.PJSUA_SIP_TIMER_ALWAYS
        config.callConfig.timerMinSESec = OPTIONS["timer"]
        config.callConfig.timerSessExpiresSec = OPTIONS["timer"]
    else:
        config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_INACTIVE
    made = Account()
    made.create(config, True)
    made.player = pj.AudioMediaPlayer()
    made.player.createPlayer(OPTIONS["speech"])
    return made


def obey(account, order):
    param = pj.CallOpParam(True)
    call = account.calls[order["call"]] if "call" in order else None
    match order["do"]:
        case "dial":
            param.opt.audioCount, param.opt.videoCount = 1, 0
            call = Call(account)
            call.makeCall(order["to"], param)
            return call.number
        case "hangup":
            call.hangup(pj.CallOpParam())
        case "hold":
            call.setHold(pj.CallOpParam())
        case "resume":
            param.opt.flag = pj.PJSUA_CALL_UNHOLD
            call.reinvite(param)
        case "reinvite":
            call.reinvite(param)
        case "update":
            call.update(param)
        case "dial_digits":
            call.dialDtmf(order["digits"])
        case "transfer":
            call.xfer(order["to"], param)
        case "transfer_to_call":
            call.xferReplaces(account.calls[order["other"]], param)
        case "info":
            return call.getInfo().stateText
    return None


def main():
    endpoint = start()
    mine = account()
    say(event="READY", version=endpoint.libVersion().full)
    rest = b""
    while True:
        endpoint.libHandleEvents(20)
        while select.select([0], [], [], 0)[0]:
            read = os.read(0, 65536)
            if not read:
                endpoint.hangupAllCalls()
                for _ in range(20):
                    endpoint.libHandleEvents(10)
                os._exit(0)
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                order = json.loads(line)
                try:
                    say(answer=order["token"], result=obey(mine, order))
                except pj.Error as error:
                    say(answer=order["token"], error=error.info())


main()
