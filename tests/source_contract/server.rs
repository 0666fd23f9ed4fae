//! The two servers behind one face: what differs between them before the first call is told here.

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ACCEPT, SET_COOKIE},
};

use super::{django::DjangoPeer, observation::Observation};
use crate::harness::{Answer, Client, PASSWORD, TestApp, send};

/// A server that the story is told to, and what it answered.
pub(super) struct Server {
    side: Side,
    pub(super) observed: Vec<(String, Observation)>,
}

enum Side {
    Source(DjangoPeer),
    Ours(Box<TestApp>),
}

/// Somebody with a cookie jar, and with the token that the source system's clients send along.
pub(super) struct Person {
    client: Client,
    token: String,
}

impl Server {
    pub(super) fn source(peer: DjangoPeer) -> Self {
        Self { side: Side::Source(peer), observed: Vec::new() }
    }

    pub(super) fn ours(app: TestApp) -> Self {
        Self { side: Side::Ours(Box::new(app)), observed: Vec::new() }
    }

    pub(super) async fn stop(self) {
        if let Side::Ours(mut app) = self.side {
            app.stop_worker().await;
        }
    }

    pub(super) fn origin(&self) -> &str {
        match &self.side {
            Side::Source(peer) => &peer.origin,
            Side::Ours(app) => &app.origin,
        }
    }

    pub(super) fn nobody(&self) -> Person {
        Person { client: Client::new(self.origin()), token: String::new() }
    }

    /// Logs in by a form, as the source system's clients do.
    pub(super) async fn log_in(&mut self, name: &str) -> Person {
        let path = match self.side {
            Side::Source(_) => "/api-auth/login/",
            Side::Ours(_) => "/api/session",
        };
        let mut person = self.nobody();
        if let Side::Source(_) = self.side {
            person.token = token(&person.client.get(path).await).expect("a token");
        }
        let fields =
            [("username", name), ("password", PASSWORD), ("csrfmiddlewaretoken", &person.token)];
        let answer = send(person.client.request(Method::POST, path).form(&fields)).await;
        assert!(matches!(answer.status, StatusCode::OK | StatusCode::FOUND), "{}", answer.html());
        person.token = token(&answer).unwrap_or_default();
        person
    }

    /// Sends a request and remembers what came back, under the step's name.
    pub(super) async fn ask(&mut self, step: &str, request: RequestBuilder) -> Answer {
        let answer = send(request).await;
        let observation = Observation::of(&answer, self.origin());
        self.observed.push((step.to_owned(), observation));
        answer
    }

    /// As [`Server::ask`], but remembers of the body only how long the list is.
    pub(super) async fn ask_for_length(&mut self, step: &str, request: RequestBuilder) {
        self.ask(step, request).await;
        if let Some((_, observation)) = self.observed.last_mut() {
            observation.values.retain(|name, _| !name.starts_with("body") || name == "body length");
        }
    }

    /// Moves an account to another tier, as an administrator would.
    pub(super) async fn set_tier(&self, account: &str, tier: &str) {
        match &self.side {
            Side::Source(peer) => peer.manage(&["move", "--account", account, "--tier", tier]),
            Side::Ours(app) => {
                let update = "UPDATE users SET tier_id = tiers.id FROM tiers WHERE username = $1 AND name = $2";
                let update = sqlx::query(update).bind(account).bind(tier);
                assert_eq!(update.execute(&app.pool).await.expect("an update").rows_affected(), 1);
            }
        }
    }

    /// Lets so many seconds pass for expiring links.
    pub(super) fn age_links(&self, seconds: u64) {
        match &self.side {
            Side::Source(peer) => peer.manage(&["move", "--links-age-by", &seconds.to_string()]),
            Side::Ours(app) => app.clock.advance(std::time::Duration::from_secs(seconds)),
        }
    }
}

impl Person {
    pub(super) fn get(&self, url: &str) -> RequestBuilder {
        self.client.request(Method::GET, url)
    }

    pub(super) fn post(&self, url: &str) -> RequestBuilder {
        self.client.request(Method::POST, url).header("x-csrftoken", &self.token)
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// A request without the token.
    pub(super) fn post_without_token(&self, url: &str) -> RequestBuilder {
        self.client.request(Method::POST, url)
    }

    /// A page as a browser asks for it.
    pub(super) fn browse(&self, url: &str) -> RequestBuilder {
        self.get(url).header(ACCEPT, "text/html")
    }
}

/// The token against forged requests that an answer sets.
fn token(answer: &Answer) -> Option<String> {
    let cookies =
        answer.headers.get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    let mut tokens =
        cookies.filter_map(|cookie| cookie.strip_prefix("csrftoken=")?.split(';').next());
    tokens.next().map(ToOwned::to_owned)
}
