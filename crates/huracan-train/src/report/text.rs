//! Text on the page: the one place where strings are escaped and numbers get their form.

use std::fmt::Display;

/// Escapes text for element content and quoted attributes.
pub(super) fn esc(text: impl Display) -> String {
    let text = text.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Direction overrides would let a symbol show as another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Text cut to at most `most` characters, escaped.
pub(super) fn brief(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => esc(format_args!("{}…", text[..end].trim_end())),
        None => esc(text),
    }
}

/// JSON that may stand inside a `<script>` element: no character can end the element or start
/// another.
pub(super) fn script_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

/// A number with `digits` decimals and a true minus; a dash where there is none.
pub(super) fn number(value: impl Into<Option<f64>>, digits: usize) -> String {
    match value.into().filter(|v| v.is_finite()) {
        None => "–".to_owned(),
        Some(value) => {
            let text = format!("{:.*}", digits, value.abs());
            let zero = text.bytes().all(|b| b == b'0' || b == b'.');
            if value < 0.0 && !zero { format!("\u{2212}{text}") } else { text }
        }
    }
}

/// Like [`number`], with a plus before positive values.
pub(super) fn signed(value: impl Into<Option<f64>>, digits: usize) -> String {
    let value = value.into();
    let text = number(value, digits);
    let plus = value.is_some_and(|v| v > 0.0) && text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if plus { format!("+{text}") } else { text }
}

/// USD in thousands, millions, billions.
pub(super) fn usd(value: impl Into<Option<f64>>) -> String {
    let Some(value) = value.into().filter(|v| v.is_finite()) else { return "–".to_owned() };
    let scales = [(1e9, "B"), (1e6, "M"), (1e3, "k")];
    match scales.iter().find(|(scale, _)| value.abs() >= *scale) {
        Some((scale, unit)) => {
            let scaled = value / scale;
            let digits = if scaled.abs() < 10.0 { 1 } else { 0 };
            format!("{}{unit}", number(scaled, digits))
        }
        None => number(value, 0),
    }
}

/// A count with thin spaces between thousands.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// Standard base64, for the page's content security policy.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sextet = bits >> (18 - 6 * i) & 63;
            let here = i <= group.len();
            out.push(if here { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        check(number(-1.25, 1), "\u{2212}1.2");
        check(number(-0.001, 2), "0.00");
        check(number(f64::NAN, 2), "–");
        check(number(None, 2), "–");
        check(signed(0.4, 1), "+0.4");
        check(signed(0.001, 1), "0.0");
        check(usd(1_234_567.0), "1.2M");
        check(usd(2.5e10), "25B");
        check(usd(999.0), "999");
        check(count(2_228_173), "2\u{202f}228\u{202f}173");
        check(count(12), "12");
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(esc("<b a='1'>&\""), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;");
        assert_eq!((brief("<é>&", 2), brief("<é>&", 4)), ("&lt;é…".into(), "&lt;é&gt;&amp;".into()));
        assert_eq!(esc("a\u{202e}b\0"), "a\u{fffd}b\u{fffd}");
        assert_eq!(script_json("\"</script><!--\""), "\"\\u003c/script\\u003e\\u003c!--\"");
    }

    #[test]
    fn base64_is_the_standard_one() {
        let check = |plain: &str, coded: &str| assert_eq!(base64(plain.as_bytes()), coded);
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foobar", "Zm9vYmFy");
    }
}
