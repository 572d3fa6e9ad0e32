//! [`Progress`]: how far a request has come, and its outcome if it ends there.

use http::StatusCode;
use logtracer_core::request::{IncompleteCause, Outcome, grpc};

use super::Side;
use super::record::Protocol;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// No response yet. If the record is dropped now, the caller went away, or a time limit ended the request.
    Waiting,
    /// The headers are sent, the body is not complete.
    Sending {
        status: StatusCode,
        grpc: Option<u32>,
    },
    Complete {
        status: StatusCode,
        grpc: Option<u32>,
    },
    /// A panic, or an error of the service or of the body. An error of the body follows a `status`.
    Failed {
        status: Option<StatusCode>,
        grpc: Option<u32>,
    },
}

/// The status of a call without a response.
const NO_STATUS: u16 = 0;

/// The status of a request that a time limit ended before its response. What an outer layer sends is unknown.
const TIMED_OUT: u16 = 504;

impl Progress {
    pub(super) fn mark_complete(&mut self) {
        if let Self::Sending { status, grpc } = *self {
            *self = Self::Complete { status, grpc };
        }
    }

    pub(super) fn mark_failed(&mut self) {
        *self = match *self {
            Self::Waiting => Self::Failed { status: None, grpc: None },
            Self::Sending { status, grpc } | Self::Complete { status, grpc } => {
                Self::Failed { status: Some(status), grpc }
            }
            failed @ Self::Failed { .. } => failed,
        };
    }

    /// Returns the outcome of a request that ends now.
    pub(super) fn outcome(self, side: Side, protocol: Protocol, is_timed_out: bool) -> Outcome {
        match (protocol, side) {
            (Protocol::Http, _) => self.outcome_of_http(side, is_timed_out),
            (_, Side::Server) => self.outcome_of_grpc(protocol, is_timed_out),
            (_, Side::Client) => self.outcome_of_grpc_call(protocol, is_timed_out),
        }
    }

    fn outcome_of_http(self, side: Side, is_timed_out: bool) -> Outcome {
        match (self, side) {
            // Whether a time limit or the caller ended the call, there is no status.
            (Self::Waiting, Side::Client) => Outcome::Http(NO_STATUS),
            (Self::Waiting, Side::Server) if is_timed_out => Outcome::Http(TIMED_OUT),
            (Self::Waiting, Side::Server) => Outcome::Aborted,
            // A client need not read the whole body.
            (Self::Sending { status, .. }, Side::Client) => Outcome::Http(status.as_u16()),
            (Self::Sending { .. }, Side::Server) => Outcome::Aborted,
            (Self::Complete { status, .. }, _) => Outcome::Http(status.as_u16()),
            // The status of a server that fails, even if it has sent another one before.
            (Self::Failed { .. }, Side::Server) => Outcome::Http(500),
            (Self::Failed { status: None, .. }, Side::Client) => Outcome::Http(NO_STATUS),
            (Self::Failed { status: Some(status), .. }, Side::Client) => {
                let cause = if is_timed_out { IncompleteCause::Timeout } else { IncompleteCause::Disconnect };
                Outcome::Incomplete { status: status.as_u16(), cause }
            }
        }
    }

    fn outcome_of_grpc(self, protocol: Protocol, is_timed_out: bool) -> Outcome {
        match self {
            Self::Waiting if is_timed_out => Outcome::Grpc { code: grpc::DEADLINE_EXCEEDED, http: TIMED_OUT },
            Self::Waiting => Outcome::from_grpc(None, 0),
            Self::Sending { status, grpc: None } => {
                let code = if is_timed_out { grpc::DEADLINE_EXCEEDED } else { grpc::CANCELLED };
                Outcome::Grpc { code, http: status.as_u16() }
            }
            Self::Sending { status, grpc } | Self::Complete { status, grpc } => match protocol {
                Protocol::GrpcWeb => Outcome::from_grpc_web(grpc, status.as_u16()),
                _ => Outcome::from_grpc(grpc, status.as_u16()),
            },
            // The status of a server that fails, even if it has sent another one before.
            Self::Failed { .. } => {
                let code = if is_timed_out { grpc::DEADLINE_EXCEEDED } else { grpc::UNKNOWN };
                Outcome::Grpc { code, http: 500 }
            }
        }
    }

    fn outcome_of_grpc_call(self, protocol: Protocol, is_timed_out: bool) -> Outcome {
        let (status, grpc) = match self {
            Self::Failed { status, grpc } => (status, grpc),
            Self::Waiting => {
                let code = if is_timed_out { grpc::DEADLINE_EXCEEDED } else { grpc::CANCELLED };
                return Outcome::Grpc { code, http: NO_STATUS };
            }
            other => return other.outcome_of_grpc(protocol, is_timed_out),
        };
        let code = match (grpc.filter(|code| *code != grpc::OK), status) {
            (Some(code), _) => code,
            _ if is_timed_out => grpc::DEADLINE_EXCEEDED,
            (None, None) => grpc::UNAVAILABLE,
            (None, Some(_)) => grpc::UNKNOWN,
        };
        Outcome::Grpc { code, http: status.map_or(NO_STATUS, |status| status.as_u16()) }
    }
}
