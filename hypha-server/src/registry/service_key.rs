//! Splits full ids of services into their parts.

/// The parts of a full id `workspace/client:name`, without `@app`. No part is empty or contains a
/// separator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceKey<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) client: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> ServiceKey<'a> {
    /// Splits a full id. Returns `None` if a part is missing or contains `/`, `:` or `@`.
    pub(crate) fn parse(id: &'a str) -> Option<ServiceKey<'a>> {
        let (workspace, rest) = id.split_once('/')?;
        let (client, name) = rest.split_once(':')?;
        let parts = [workspace, client, name];
        let plain = parts
            .iter()
            .all(|part| !part.is_empty() && !part.contains(['/', ':', '@']));
        plain.then_some(ServiceKey {
            workspace,
            client,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_split_or_refused() {
        let key = ServiceKey::parse("w/c:n").unwrap();
        assert_eq!((key.workspace, key.client, key.name), ("w", "c", "n"));
        for bad in [
            "w/c", "c:n", "w/:n", "/c:n", "w/c:", "w/c:n:m", "w/c:n@a", "w/x/c:n",
        ] {
            assert!(ServiceKey::parse(bad).is_none(), "{bad}");
        }
    }
}
