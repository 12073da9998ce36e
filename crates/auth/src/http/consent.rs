//! `POST /consent`: the person's answer.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use oauth::AuthorizationId;
use oauth::secret::Plain;

use super::authorize::add_cookie;
use super::{cookie, error, extract, limited, pages};
use crate::app::AppState;
use crate::flow::consent::{self, Answer, Approved};
use crate::limits::Limit;

/// Counts only with the cookie, the form's own token, and when the form was ours.
pub(crate) async fn consent(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> error::Answer {
    limited::page(&request, &state, Limit::SignIn).await?;
    let form = extract::form(&request, payload).await?;
    if !pages::is_own_form(&request, &state) {
        return Err(error::wrong_browser(&request).into());
    }
    let answer = read(&request, &state, &form).ok_or_else(|| error::wrong_browser(&request))?;
    let mut response = match form.get("decision") {
        Some("approve") => {
            let approved = consent::approve(&state, &answer)
                .await
                .map_err(|problem| error::answer(&request, problem))?;
            return Ok(leave(&request, &state, &approved));
        }
        Some("deny") => {
            let denied = consent::deny(&state, &answer)
                .await
                .map_err(|problem| error::answer(&request, problem))?;
            pages::go_back(&denied.redirect_uri, &denied.location(&state.issuer), false)
        }
        _ => return Err(undecided(&request).into()),
    };
    add_cookie(&mut response, &cookie::release(&state, &answer.id));
    Ok(response)
}

/// On to the identity provider, or to the page that says that it is away.
pub(crate) fn leave(request: &HttpRequest, state: &AppState, approved: &Approved) -> HttpResponse {
    let mut response = match &approved.outage {
        None => pages::see_other(&approved.location),
        Some(outage) => error::outage_page(request, state, outage),
    };
    let bound = cookie::bind(state, &approved.id, &approved.cookie);
    add_cookie(&mut response, &bound);
    response
}

fn read(request: &HttpRequest, state: &AppState, form: &extract::Form) -> Option<Answer> {
    let id = AuthorizationId::parse(form.get("transaction")?).ok()?;
    Some(Answer {
        cookie: extract::sign_in_cookie(request, &cookie::name(state, &id))?,
        form: Plain::parse(form.get("csrf")?)?,
        remember: form.get("remember") == Some("yes"),
        id,
    })
}

fn undecided(request: &HttpRequest) -> HttpResponse {
    let text = "The form did not say whether you agree. Go back and choose one of the buttons.";
    pages::message(request, StatusCode::BAD_REQUEST, "Neither yes nor no", text)
}
