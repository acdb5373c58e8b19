//! Sends verification codes by e-mail, through the HTTP API of resend.com.

use serde_json::json;

use super::Refusal;
use crate::auth;
use crate::settings::AccountSettings;

/// Client of the e-mail API.
pub(super) struct Mailer {
    client: reqwest::Client,
    url: String,
    key: String,
    from: String,
}

impl Mailer {
    /// Creates a mailer. Returns `None` if the settings contain no API key. Also returns `None`,
    /// and logs the error, if the HTTPS client cannot be created.
    pub(super) fn new(settings: &AccountSettings) -> Option<Mailer> {
        let key = settings.email_api_key.clone()?;
        let client = auth::https_client()
            .inspect_err(|error| tracing::error!(error, "cannot set up e-mails"))
            .ok()?;
        Some(Mailer {
            client,
            url: settings.email_api_url.clone(),
            key,
            from: settings.email_from.clone(),
        })
    }

    /// Sends a verification code to the address `to`. The e-mail also contains `minutes`, the
    /// validity of the code in minutes.
    pub(super) async fn send(&self, to: &str, code: &str, minutes: u64) -> Result<(), Refusal> {
        let text = format!(
            "Your code for this Hypha server is {code}. It is valid for {minutes} minutes.\n\nIf \
             you have not asked for it, ignore this e-mail."
        );
        let message = json!({
            "from": self.from,
            "to": [to],
            "subject": "Your code for Hypha",
            "text": text,
        });
        let request = self
            .client
            .post(&self.url)
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(message.to_string());
        let problem = match request.send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => format!("status {}", response.status()),
            Err(error) => error.without_url().to_string(),
        };
        tracing::error!(problem, "an e-mail was not sent");
        Err("The code could not be sent. Please try again later.".into())
    }
}
