//! Lists the parts of the Python platform that this server lacks. If a client asks for such a part,
//! the error text names the part instead of only saying "not found".

const ARTIFACTS: &str = "this server has no artifacts";
const APPS: &str = "this server launches no apps";
const S3: &str = "this server has no S3 storage";
const SKILLS: &str = "this server was built without documents for agents";
const TRITON: &str = "this server has no Triton proxy";

/// Returns the error text for a service of the Python platform that this server lacks, or `None`
/// for any other name.
pub(crate) fn lacks_service(name: &str) -> Option<&'static str> {
    Some(match name {
        "artifact-manager" => ARTIFACTS,
        "server-apps" => APPS,
        "s3-storage" => S3,
        "agent-skills" if !cfg!(feature = "skills") => SKILLS,
        "triton-client" => TRITON,
        _ => return None,
    })
}

/// Returns the error text for a path `/{workspace}/{part}/…` whose part this server lacks, or
/// `None` for any other path.
pub(crate) fn lacks_page(path: &str) -> Option<&'static str> {
    let mut parts = path.trim_start_matches('/').split('/');
    let (_workspace, part) = (parts.next()?, parts.next()?);
    Some(match part {
        "artifacts" | "view" | "site" | "create-zip-file" | "git" | "files" => ARTIFACTS,
        "s3" => S3,
        // Gateways that are compiled into this server have routes of their own.
        "mcp" if !cfg!(feature = "mcp") => "this server was built without the MCP gateway",
        "a2a" | "a2a-info" if !cfg!(feature = "a2a") => {
            "this server was built without the A2A gateway"
        }
        "agent-skills" if !cfg!(feature = "skills") => SKILLS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_features_are_recognized_by_name() {
        assert_eq!(lacks_service("artifact-manager"), Some(ARTIFACTS));
        assert_eq!(lacks_service("artifact"), None);
        assert_eq!(lacks_page("/ws-lab/artifacts/a/files/b"), Some(ARTIFACTS));
        assert_eq!(lacks_page("/artifacts"), None);
        assert_eq!(lacks_page("/"), None);
    }
}
