//! Addresses of databases, and the passwords they must not carry: an address is shown to people and
//! kept in files, so one that carries a password is refused and never repeated.

/// Whether a text is a PostgreSQL address that carries no password.
///
/// What may be one counts as one. A password may hold any character, so whatever stands before the last
/// `@` is the user's part, and a colon in it separates a password.
pub fn is_without_password(url: &str) -> bool {
    let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    rest.is_some_and(|rest| {
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        !decoded(user).contains(':') && has_port_or_none(place) && !names_password(&decoded(rest))
    })
}

/// What follows the host's colon is a port: with the `@` forgotten it would be a password.
fn has_port_or_none(place: &str) -> bool {
    let host = place.split(['/', '?', '#']).next().unwrap_or_default();
    let after_brackets = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    after_brackets.split_once(':').is_none_or(|(_, port)| port.is_empty() || port.parse::<u16>().is_ok())
}

/// Whether a parameter is a password: `?password=…`, or `password = …` among keys and values.
fn names_password(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut rest = text.split("password").skip(1);
    rest.any(|after| after.trim_start().starts_with('='))
}

/// The text that `%xx` stand for.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A value as a message repeats it: not at all where it may hold an address, and with it a password.
pub fn repeated(path: &str, value: &str) -> String {
    match ["jobs", "jobs.url"].contains(&path) || value.contains("://") || names_password(value) {
        true => "a value that is not repeated here".to_owned(),
        false => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    const SAFE: [&str; 10] = [
        "postgres://host/db",
        "postgres://u@host/db",
        "postgresql://u@host:5432/db",
        "postgres://u@[::1]:5432/db",
        "postgres://u@[::1]/db",
        "postgres://u@host:/db",
        "postgres://u%40corp@host/db",
        "postgres://u@localhost/postgres?host=/run/postgresql",
        "postgres://u@host/db?application_name=a%3Ab",
        "postgres://u@host/password",
    ];

    const UNSAFE: [&str; 19] = [
        "postgres://u:S3CRET@host/db",
        "postgres://u:p/wS3CRET@host/db",
        "postgres://u:p@wS3CRET@host/db",
        "postgres://u:p?wS3CRET@host/db",
        "postgres://u:p#wS3CRET@host/db",
        "postgres://u:p%wS3CRET@host/db",
        "postgres://u:/?#@S3CRET@host/db",
        "postgres://u:S3CRET@",
        "postgres://:S3CRET@host/db",
        "postgres://u%3AS3CRET@host/db",
        "postgres://u:S3CRET/db",
        "postgres://u:S3CRET%40host/db",
        "postgres://u@host/db?password=S3CRET",
        "postgres://u@host/db?sslmode=require&PassWord=S3CRET",
        "postgres://u@host/db?%70assword=S3CRET",
        "postgres://u@host/db?sslpassword=S3CRET",
        "host=h user=u password=S3CRET",
        "host=h password = 'S3CRET'",
        "mysql://u:S3CRET@host/db",
    ];

    #[test]
    fn an_address_with_a_password_of_any_characters_is_told_from_one_without() {
        for url in SAFE {
            assert!(is_without_password(url), "{url}");
        }
        for url in UNSAFE {
            assert!(!is_without_password(url), "{url}");
        }
    }

    /// Whatever is wrong with what was said, and wherever it was said.
    #[test]
    fn no_message_repeats_a_password() {
        let odd = ["postgres://u:p: S3CRET@host/db", "{postgres://u:S3CRET@host/db", "password=[S3CRET"];
        for url in UNSAFE.iter().chain(&odd) {
            for name in ["HURACAN__JOBS__URL", "HURACAN__JOBS", "HURACAN__JOBS__LEASE_S", "HURACAN__SEED"] {
                let environment = vec![(name.to_owned(), (*url).to_owned())];
                let refused = load(&Sources { environment, ..Sources::default() }, 1).unwrap_err();
                let said = format!("{refused} {:?}", refused.problems);
                assert!(!said.contains("S3CRET") && said.contains(name), "{name}: {said}");
            }
            let text = format!("jobs:\n  url: '{}'\n", url.replace('\'', "''"));
            let file = Some(("a.yaml", text.as_str()));
            let refused = load(&Sources { file, ..Sources::default() }, 1).unwrap_err();
            assert!(!format!("{refused:?}").contains("S3CRET"), "{refused}");
        }
    }
}
