//! Bodies of OTLP replies. Definition: `*_service.proto` and google.rpc.Status.

use kenning_model::Signal;

use super::Format;
use crate::json::quote;
use crate::protobuf::Writer;

/// The body of a success: empty when all was taken, `partial_success` otherwise.
#[must_use]
pub fn encode_response(signal: Signal, rejected: u64, message: &str, format: Format) -> Vec<u8> {
    let full = rejected == 0 && message.is_empty();
    match format {
        Format::Protobuf if full => Vec::new(),
        Format::Json if full => b"{}".to_vec(),
        Format::Protobuf => {
            let mut writer = Writer::default();
            writer.message(1, |partial| {
                if rejected > 0 {
                    partial.varint(1, rejected);
                }
                partial.text(2, message);
            });
            writer.finish()
        }
        Format::Json => {
            let field = match signal {
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
                Signal::Traces => "rejectedSpans",
            };
            let message = quote(message);
            format!(r#"{{"partialSuccess":{{"{field}":"{rejected}","errorMessage":{message}}}}}"#)
                .into_bytes()
        }
    }
}

/// The body of a failure: google.rpc.Status with a gRPC code.
#[must_use]
pub fn encode_status(code: u32, message: &str, format: Format) -> Vec<u8> {
    match format {
        Format::Protobuf => {
            let mut writer = Writer::default();
            if code != 0 {
                writer.varint(1, u64::from(code));
            }
            writer.text(2, message);
            writer.finish()
        }
        Format::Json => format!(r#"{{"code":{code},"message":{}}}"#, quote(message)).into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        assert_eq!(encode_response(Signal::Logs, 0, "", Format::Protobuf), b"");
        assert_eq!(encode_response(Signal::Logs, 0, "", Format::Json), b"{}");
        assert_eq!(encode_response(Signal::Traces, 3, "no", Format::Protobuf), b"\x0a\x06\x08\x03\x12\x02no");
        let json = encode_response(Signal::Metrics, 3, "a \"b\"\n", Format::Json);
        let want = r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"a \"b\"\n"}}"#;
        assert_eq!(String::from_utf8(json).unwrap(), want);
        assert_eq!(encode_status(3, "bad", Format::Json), br#"{"code":3,"message":"bad"}"#);
        assert_eq!(encode_status(3, "bad", Format::Protobuf), b"\x08\x03\x12\x03bad");
    }
}
