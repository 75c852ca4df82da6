//! A question by datagram, asked again until it is answered: datagrams get lost.

use super::Socket;
use crate::{
    net::{Fault, NetError, timeout},
    sys::context,
};
use std::time::Duration;

/// Longest wait before asking again (RFC 5080 §2.2.1).
const LONGEST_WAIT: Duration = Duration::from_secs(16);
/// With less than this left of the run, nothing is asked again.
const TOO_LATE: Duration = Duration::from_millis(100);
/// Datagrams that are no answer, until it is said that the peer sends nothing else.
const MOST_STRAYS: u32 = 256;

impl Socket {
    /// Sends `question` and gives each datagram that comes (cut to `max` bytes) to `read`, until that makes something
    /// of one or fails. Asks again after `first_wait`, and then after twice as long each time.
    ///
    /// Ends as a time-out shortly before the run does.
    pub fn exchange<T>(
        &self,
        question: &[u8],
        max: u32,
        first_wait: Duration,
        mut read: impl FnMut(&[u8]) -> Result<Option<T>, NetError>,
    ) -> Result<T, NetError> {
        let remaining = || Duration::from_nanos(context::remaining());
        let mut wait = first_wait;
        let mut strays = 0;
        loop {
            self.send(question)?;
            let end = remaining().saturating_sub(wait);
            loop {
                let left = remaining().saturating_sub(end);
                match self.inner.receive(max, timeout(Some(left))) {
                    Ok(datagram) => {
                        if let Some(answer) = read(&datagram)? {
                            return Ok(answer);
                        }
                    }
                    Err(Fault::Timeout(_)) => break,
                    Err(fault) => return Err(fault.into()),
                }
                strays += 1;
                if strays == MOST_STRAYS {
                    return Err(NetError::protocol("many datagrams, and none of them an answer"));
                }
            }
            if remaining() <= TOO_LATE {
                return Err(Fault::Timeout("response: no datagram came".to_owned()).into());
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
