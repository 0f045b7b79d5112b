//! Which calls go where.

use crate::model::TrunkName;

/// From which trunk to which, for which called numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    pub from: TrunkName,
    pub to: TrunkName,
    /// Only calls whose Request-URI has a user part that begins so.
    pub prefix: Option<String>,
    /// The user part that the call is sent on with; as it came if there is none.
    pub to_user: Option<String>,
    /// Lower ones are tried first; equal ones in the order of the file. Default 0.
    pub priority: i64,
}
