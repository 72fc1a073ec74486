//! Offers, as a framework is shown them.

use meshos_protocol::{
    attributes::{Attribute, AttributeValue},
    framework::{Capabilities, Offer},
    ids::ClusterId,
    wishes::FaultDomain,
};

use super::{
    ids, maintenance, number,
    resource::{self, write_ranges},
};
use crate::schema;

/// Where the HTTP server of a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A host name, or the address again.
    pub hostname: String,
    /// The address, when it is known.
    pub ip: Option<std::net::IpAddr>,
    /// The port.
    pub port: u16,
}

impl Place {
    /// Reads `host:port`.
    #[must_use]
    pub fn read(address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Self { hostname: host.to_owned(), ip: host.parse().ok(), port: port.parse().ok()? })
    }

    /// `host:port`; IPv6 addresses in brackets.
    #[must_use]
    pub fn host_port(&self) -> String {
        match self.ip {
            Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            Some(std::net::IpAddr::V4(_)) | None => format!("{}:{}", self.hostname, self.port),
        }
    }

    /// The place as messages have it.
    #[must_use]
    pub fn address(&self) -> schema::Address {
        schema::Address {
            hostname: Some(self.hostname.clone()),
            ip: self.ip.map(|ip| ip.to_string()),
            port: Some(i32::from(self.port)),
        }
    }
}

/// Where an agent listens.
pub(crate) fn agent_url(place: &Place, hostname: &str) -> schema::Url {
    let address = schema::Address { hostname: Some(hostname.to_owned()), ..place.address() };
    schema::Url {
        scheme: Some("http".to_owned()),
        address: Some(address),
        path: Some("/slave(1)".to_owned()),
        ..schema::Url::default()
    }
}

/// Shows an offer to a framework with these capabilities; `place` is where its agent listens.
#[must_use]
pub fn write(
    cluster: ClusterId,
    offer: &Offer,
    capabilities: Capabilities,
    place: Option<&Place>,
) -> schema::Offer {
    let refined = capabilities.reservation_refinement;
    schema::Offer {
        id: Some(ids::offer(cluster, offer.id)),
        framework_id: Some(ids::framework(cluster, offer.framework)),
        agent_id: Some(ids::agent(cluster, offer.agent)),
        hostname: Some(offer.hostname.clone()),
        url: place.map(|place| agent_url(place, &offer.hostname)),
        domain: offer.domain.as_ref().map(domain),
        resources: resource::write_all(&offer.resources, &offer.role, refined),
        attributes: offer.attributes.iter().map(attribute).collect(),
        allocation_info: resource::allocated_to(&offer.role),
        unavailability: offer.unavailability.map(maintenance::unavailability),
        ..schema::Offer::default()
    }
}

pub(crate) fn attribute(attribute: &Attribute) -> schema::Attribute {
    let mut written =
        schema::Attribute { name: Some(attribute.name().to_owned()), ..Default::default() };
    let kind = match attribute.value() {
        AttributeValue::Scalar(amount) => {
            written.scalar = Some(schema::ValueScalar { value: Some(number::double(*amount)) });
            schema::ValueType::Scalar
        }
        AttributeValue::Ranges(ranges) => {
            written.ranges = Some(write_ranges(ranges));
            schema::ValueType::Ranges
        }
        AttributeValue::Set(set) => {
            written.set = Some(schema::ValueSet { item: set.iter().map(str::to_owned).collect() });
            schema::ValueType::Set
        }
        AttributeValue::Text(text) => {
            written.text = Some(schema::ValueText { value: Some(text.as_str().to_owned()) });
            schema::ValueType::Text
        }
    };
    written.set_type(kind);
    written
}

pub(crate) fn domain(domain: &FaultDomain) -> schema::DomainInfo {
    let region = schema::DomainInfoFaultDomainRegionInfo { name: Some(domain.region.clone()) };
    let zone = schema::DomainInfoFaultDomainZoneInfo { name: Some(domain.zone.clone()) };
    let fault_domain =
        Some(schema::DomainInfoFaultDomain { region: Some(region), zone: Some(zone) });
    schema::DomainInfo { fault_domain }
}
