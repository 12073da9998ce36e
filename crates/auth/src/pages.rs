//! The pages that people see, as models for their templates in `templates/`. Templates escape everything.

use askama::Template;

/// May this client use this service in your name?
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct ConsentPage<'a> {
    pub(crate) client_name: &'a str,
    /// Who answers for the name, if the client is known by a document there.
    pub(crate) client_host: Option<&'a str>,
    pub(crate) client_id: &'a str,
    /// Where the browser goes afterwards; the largest text of the page.
    pub(crate) destination: &'a str,
    pub(crate) is_loopback: bool,
    /// How long the answer could be remembered, in words.
    pub(crate) remembered_for: Option<String>,
    pub(crate) service: &'a str,
    pub(crate) resource: &'a str,
    /// What the client may do, in words.
    pub(crate) permissions: Vec<String>,
    /// Whose page comes next, if it is not ours.
    pub(crate) provider: Option<&'a str>,
    pub(crate) transaction: &'a str,
    pub(crate) csrf: &'a str,
}

/// Name and password, for the `local` provider.
#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage<'a> {
    pub(crate) service: &'a str,
    pub(crate) state: &'a str,
    pub(crate) username: &'a str,
    pub(crate) problem: Option<&'a str>,
}

/// What a person granted.
#[derive(Template)]
#[template(path = "account.html")]
pub(crate) struct AccountPage<'a> {
    pub(crate) login: &'a str,
    pub(crate) grants: Vec<GrantLine>,
    pub(crate) consents: Vec<ConsentLine>,
    pub(crate) csrf: &'a str,
}

/// What need not be agreed to again, in words.
pub(crate) struct ConsentLine {
    pub(crate) id: String,
    pub(crate) client_name: String,
    /// Who answers for the name, if the client is known by a document there.
    pub(crate) client_host: Option<String>,
    pub(crate) service: String,
    pub(crate) scope: String,
    /// Where the browser goes afterwards.
    pub(crate) destination: String,
    pub(crate) until: String,
}

/// One client with one service, in words.
pub(crate) struct GrantLine {
    pub(crate) id: String,
    pub(crate) client_name: String,
    /// Who answers for the name, if the client is known by a document there.
    pub(crate) client_host: Option<String>,
    pub(crate) service: String,
    pub(crate) scope: String,
    pub(crate) granted: String,
    pub(crate) last_used: String,
}

/// The way to the account.
#[derive(Template)]
#[template(path = "account_sign_in.html")]
pub(crate) struct AccountSignInPage<'a> {
    /// Whose page comes next, if it is not ours.
    pub(crate) provider: Option<&'a str>,
}

/// A sign-in is over, and went well.
#[derive(Template)]
#[template(path = "success.html")]
pub(crate) struct SuccessPage;

/// Something went wrong, and what to do.
#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct MessagePage<'a> {
    pub(crate) title: &'a str,
    pub(crate) message: &'a str,
    pub(crate) request_id: &'a str,
}

/// The identity provider is away: try again, or go back without a code.
#[derive(Template)]
#[template(path = "unavailable.html")]
pub(crate) struct UnavailablePage<'a> {
    pub(crate) provider: &'a str,
    /// The way to the provider, once more.
    pub(crate) again: &'a str,
    /// The way back to the client, with `temporarily_unavailable`.
    pub(crate) back: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) request_id: &'a str,
}

/// Back to an application that a browser opens only by a click.
#[derive(Template)]
#[template(path = "return.html")]
pub(crate) struct ReturnPage<'a> {
    pub(crate) destination: &'a str,
    pub(crate) location: &'a str,
    pub(crate) is_granted: bool,
}

/// Type the code of a device.
#[derive(Template)]
#[template(path = "device.html")]
pub(crate) struct DevicePage<'a> {
    /// Filled in already, when it came in the address.
    pub(crate) user_code: &'a str,
    pub(crate) problem: Option<&'a str>,
}

/// May the device that shows this code use this service in your name?
#[derive(Template)]
#[template(path = "device_consent.html")]
pub(crate) struct DeviceConsentPage<'a> {
    /// The largest text of the page, to be compared.
    pub(crate) user_code: &'a str,
    pub(crate) client_name: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) service: &'a str,
    pub(crate) resource: &'a str,
    /// What the device may do, in words.
    pub(crate) permissions: Vec<String>,
    /// Whose page comes next, if it is not ours.
    pub(crate) provider: Option<&'a str>,
    pub(crate) transaction: &'a str,
    pub(crate) csrf: &'a str,
}

/// The browser has done its part; the device goes on.
#[derive(Template)]
#[template(path = "device_done.html")]
pub(crate) struct DeviceDonePage {
    pub(crate) is_granted: bool,
}
