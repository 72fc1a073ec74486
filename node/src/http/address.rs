//! Whether a request was meant for this node.
//!
//! A web page that an operator has open can make the browser send requests here, and by letting
//! its own name resolve to this machine (DNS rebinding) even read the answers. Both show: the
//! browser names the page's host in `Host`, and the page in `Origin`.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use warp::http::HeaderMap;

use crate::config::NodeOptions;

/// The names that this node answers to.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Its host name, `localhost`, and the names of the seeds: the node may be one of them.
    pub(super) fn of(options: &NodeOptions) -> Self {
        let seeds = options.seeds.iter().flat_map(|seed| [&seed.gossip, &seed.quic]);
        let seeds = seeds.filter_map(|address| host_of(address).map(str::to_owned));
        let own = ["localhost".to_owned(), options.hostname.clone()];
        Self(own.into_iter().chain(seeds).map(|name| plain(&name)).collect())
    }

    /// Checks what the request says whom it is for, and which page it comes from.
    ///
    /// # Errors
    /// The status and why.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), (u16, String)> {
        let host = only(headers, "host")?;
        let host = host.ok_or_else(|| (400, "the request has no Host header".to_owned()))?;
        let name = host_of(host).ok_or_else(|| (400, format!("Host {host:?} cannot be read")))?;
        if !is_ip_address(name) && !self.0.contains(&plain(name)) {
            return Err((
                403,
                format!(
                    "this node does not go by the name {name:?}: use its address, or its host name as --hostname has it"
                ),
            ));
        }
        let Some(origin) = only(headers, "origin")? else { return Ok(()) };
        let page = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if page.is_some_and(|page| page.eq_ignore_ascii_case(host)) {
            return Ok(());
        }
        Err((403, format!("requests from the web page {origin:?} are refused")))
    }
}

/// The value of a header that must not be there twice.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, (u16, String)> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err((400, format!("header {name:?} is there twice")));
    }
    first
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| (400, format!("header {name:?} is not plain text")))
}

/// The host of `host`, `host:port`, `[address]` or `[address]:port`.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, port)
        }
        None => match authority.find(':') {
            Some(colon) => authority.split_at(colon),
            None => (authority, ""),
        },
    };
    let port = if port.is_empty() { "" } else { port.strip_prefix(':')? };
    (!host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
}

/// A page cannot have an address for its host and be served by another machine, so any address is
/// good; which ones reach this node, through translation perhaps, cannot be known here.
fn is_ip_address(host: &str) -> bool {
    host.parse::<Ipv4Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok()
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    fn check(host: &str, origin: Option<&str>) -> Result<(), u16> {
        let names = Names(["localhost", "node-1.example"].map(str::to_owned).into());
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", HeaderValue::from_str(origin).unwrap());
        }
        names.check(&headers).map_err(|(status, _)| status)
    }

    #[test]
    fn the_node_answers_to_its_names_and_to_addresses() {
        for host in [
            "localhost:5050",
            "LOCALHOST",
            "node-1.example:5050",
            "Node-1.Example.:5050",
            "127.0.0.1:5050",
            "10.1.2.3",
            "[::1]:5050",
            "[fe80::1]",
        ] {
            assert_eq!(check(host, None), Ok(()), "{host}");
        }
    }

    #[test]
    fn it_answers_to_no_other_name() {
        for host in
            ["evil.example:5050", "localhost.evil.example", "xlocalhost", "127.0.0.1.evil.example"]
        {
            assert_eq!(check(host, None), Err(403), "{host}");
        }
        for host in ["", ":5050", "localhost:50x", "[::1", "[localhost]", "[::1]5050", "a:b:c"] {
            assert_eq!(check(host, None), Err(400), "{host}");
        }
    }

    #[test]
    fn a_page_may_call_only_the_host_that_it_came_from() {
        assert_eq!(check("localhost:5050", Some("http://localhost:5050")), Ok(()));
        assert_eq!(check("node-1.example", Some("https://Node-1.example")), Ok(()));
        for origin in [
            "http://evil.example",
            "http://localhost:8080",
            "null",
            "http://localhost",
            "localhost:5050",
        ] {
            assert_eq!(check("localhost:5050", Some(origin)), Err(403), "{origin}");
        }
    }

    #[test]
    fn headers_that_are_missing_or_there_twice_are_refused() {
        let names = Names(["localhost".to_owned()].into());
        assert_eq!(names.check(&HeaderMap::new()).unwrap_err().0, 400);
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static("localhost"));
        headers.append("host", HeaderValue::from_static("evil.example"));
        assert_eq!(names.check(&headers).unwrap_err().0, 400);
    }
}
