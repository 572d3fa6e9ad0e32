//! Envoy's response flags: the bit mask of `response.flags`, and the letters that Envoy's documentation uses.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#response-flags>

const LETTERS: [&str; 30] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX",
    "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];

const DOWNSTREAM_CONNECTION_TERMINATION: u64 = 1 << 14;
const DOWNSTREAM_PROTOCOL_ERROR: u64 = 1 << 18;
const DOWNSTREAM_REMOTE_RESET: u64 = 1 << 28;

/// Returns the letters of all flags that are set, separated by commas, as `%RESPONSE_FLAGS%` prints them.
pub(crate) fn letters(mut mask: u64) -> String {
    let mut text = String::new();
    // Most requests have no flag.
    while mask != 0 {
        if let Some(letters) = LETTERS.get(mask.trailing_zeros() as usize) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(letters);
        }
        mask &= mask - 1;
    }
    text
}

/// Returns true if the caller reset the stream, or if the connection to it was closed, by the caller or by Envoy.
pub(crate) const fn has_downstream_disconnect(mask: u64) -> bool {
    mask & (DOWNSTREAM_CONNECTION_TERMINATION | DOWNSTREAM_REMOTE_RESET) != 0
}

/// Returns whether the caller sent invalid HTTP.
pub(crate) const fn is_protocol_error_of_caller(mask: u64) -> bool {
    mask & DOWNSTREAM_PROTOCOL_ERROR != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_its_letters() {
        assert_eq!(letters(0), "");
        assert_eq!(letters(1 << 5 | 1 << 15), "UF,URX");
        assert_eq!(letters(DOWNSTREAM_CONNECTION_TERMINATION), "DC");
        assert_eq!(letters(DOWNSTREAM_REMOTE_RESET), "DR");
        assert_eq!(letters(DOWNSTREAM_PROTOCOL_ERROR), "DPE");
        assert_eq!(letters(1 << 63), "");
        assert_eq!(letters(1 << 29 | 1 << 63 | 1), "LH,UDO");
        assert_eq!(letters(u64::MAX), LETTERS.join(","));
    }

    /// Rule 55.
    #[test]
    fn who_ended_the_stream() {
        for (letters_of, is_disconnect, is_protocol_error) in [
            ("", false, false),
            ("DC", true, false),
            ("DR", true, false),
            ("DPE", false, true),
            ("UF,URX", false, false),
            ("DC,DPE", true, true),
            ("UC,DC,DR", true, false),
        ] {
            let is_set = |bit: &u32| letters_of.split(',').any(|it| LETTERS[*bit as usize] == it);
            let mask = (0..30).filter(is_set).map(|bit| 1 << bit).sum();
            assert_eq!(letters(mask), letters_of);
            assert_eq!(has_downstream_disconnect(mask), is_disconnect, "{letters_of}");
            assert_eq!(is_protocol_error_of_caller(mask), is_protocol_error, "{letters_of}");
        }
    }
}
