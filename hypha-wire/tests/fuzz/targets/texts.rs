//! Fuzz target for strings from users, servers and peers: addresses, URLs, ids, names, JSON.

use hypha_wire::{
    Case, DType, ServiceId, Value, absolute_address, http_url, parse_service_url, socket_url,
    split_address, to_camel_case, to_snake_case, valid_client_id, valid_service_name,
};

pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let text = text.as_ref();
    if let Ok(id) = text.parse::<ServiceId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(url) = parse_service_url(text) {
        assert!(text.starts_with(&url.server_url), "{url:?}");
        // The parts are valid names, so they must form a valid id.
        let part = |part: &str| (part != "*").then(|| part.to_owned());
        let id = ServiceId {
            workspace: part(&url.workspace),
            client: part(&url.client_id),
            service: url.service_id.clone(),
            app: part(&url.app_id),
        };
        assert_eq!(id.to_string().parse().as_ref(), Ok(&id));
    }
    if let Ok(url) = socket_url(text) {
        assert!(url.starts_with("ws://") || url.starts_with("wss://"));
        assert_eq!(socket_url(&url).as_ref(), Ok(&url));
        let secure = url.starts_with("wss://");
        let http = http_url(text).expect("is a URL of a server");
        assert_eq!(http.starts_with("https://"), secure);
    }
    let whole = absolute_address(text, "ws");
    let (workspace, client) = split_address(&whole).expect("is absolute");
    assert_eq!(format!("{workspace}/{client}"), whole);
    if valid_client_id(text) {
        assert_eq!(split_address(&format!("ws/{text}")), Some(("ws", text)));
    }
    if valid_service_name(text) {
        let id: ServiceId = format!("ws/client:{text}").parse().expect("a service id");
        assert_eq!(id.service, text);
    }
    let camel = to_camel_case(text);
    let _ = (to_snake_case(&camel), Case::parse(text));
    let (dtype, order) = DType::parse(text);
    if !matches!(dtype, DType::Other(_)) {
        assert_eq!(DType::parse(&dtype.to_string()).0, dtype, "{order:?}");
    }
    assert_ne!(dtype.item_size(), Some(0));
    // Text frames of a server.
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        let value = Value::from(json);
        assert_eq!(Value::from(value.to_json()), value);
    }
}
