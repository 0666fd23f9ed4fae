//! A client of the service that keeps cookies, and its answers. Every problem that a test meets is
//! held against the description of the API.

use std::sync::LazyLock;

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap},
    multipart::{Form, Part},
    redirect::Policy,
};
use serde_json::{Value, json};

/// What browsers accept where a page is to be shown.
const BROWSER_ACCEPT: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";

/// Somebody with a cookie jar, or with a token.
#[derive(Clone)]
pub(crate) struct Client {
    origin: String,
    http: reqwest::Client,
    token: Option<String>,
}

/// What the service answered.
pub(crate) struct Answer {
    request: (Method, String),
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(origin: &str) -> Self {
        // reqwest leaves the choice of the TLS provider to the process; a second call changes
        // nothing
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http =
            reqwest::Client::builder().cookie_store(true).redirect(Policy::none()).no_proxy();
        Self { origin: origin.to_owned(), http: http.build().expect("a client"), token: None }
    }

    /// As a program that sends a token; cookies are kept as well.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// A program with a new token of this user that never expires.
    pub(crate) async fn program(&self, scopes: &[&str]) -> Self {
        let token = json!({"name": "program", "scopes": scopes});
        let created = self.post("/api/tokens", token).await.expect(StatusCode::CREATED).json();
        Self::new(&self.origin).with_token(created["token"].as_str().expect("a token"))
    }

    /// A request to a path or to a whole URL.
    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let url =
            if url.starts_with('/') { format!("{}{url}", self.origin) } else { url.to_owned() };
        let request = self.http.request(method, url);
        self.token.iter().fold(request, reqwest::RequestBuilder::bearer_auth)
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        send(self.request(Method::GET, url)).await
    }

    pub(crate) async fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::GET, url);
        send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)))
            .await
    }

    pub(crate) async fn delete(&self, url: &str) -> Answer {
        send(self.request(Method::DELETE, url)).await
    }

    pub(crate) async fn post(&self, url: &str, body: Value) -> Answer {
        send(self.request(Method::POST, url).json(&body)).await
    }

    pub(crate) async fn patch(&self, url: &str, body: Value) -> Answer {
        send(self.request(Method::PATCH, url).json(&body)).await
    }

    /// A page as a browser asks for it.
    pub(crate) async fn page(&self, url: &str) -> Answer {
        send(self.request(Method::GET, url).header(ACCEPT, BROWSER_ACCEPT)).await
    }

    /// A form as a browser sends it.
    pub(crate) async fn send_form(&self, url: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.request(Method::POST, url).header(ACCEPT, BROWSER_ACCEPT).form(fields)).await
    }

    /// A form with files as a browser sends it.
    pub(crate) async fn send_files(&self, url: &str, form: Form) -> Answer {
        send(self.request(Method::POST, url).header(ACCEPT, BROWSER_ACCEPT).multipart(form)).await
    }

    pub(crate) async fn log_in(&self, username: &str, password: &str) -> Answer {
        self.post("/api/session", json!({"username": username, "password": password})).await
    }

    /// Uploads a file under a name.
    pub(crate) async fn upload(&self, name: &str, bytes: Vec<u8>) -> Answer {
        self.upload_form(Form::new().part("file", Part::bytes(bytes).file_name(name.to_owned())))
            .await
    }

    pub(crate) async fn upload_form(&self, form: Form) -> Answer {
        send(self.request(Method::POST, "/api/images").multipart(form)).await
    }

    /// Uploads a file that has to be taken; the image object.
    pub(crate) async fn uploaded(&self, name: &str, bytes: Vec<u8>) -> Value {
        self.upload(name, bytes).await.expect(StatusCode::CREATED).json()
    }
}

/// The links of an image's JSON.
pub(crate) trait ImageLinks {
    /// The link to the thumbnail of this height in px.
    fn thumbnail(&self, height: u32) -> &str;
    /// The link to the original.
    fn original(&self) -> &str;
}

impl ImageLinks for Value {
    #[track_caller]
    fn thumbnail(&self, height: u32) -> &str {
        self["file_urls"][format!("{height} px high")].as_str().expect("a link to the thumbnail")
    }

    #[track_caller]
    fn original(&self) -> &str {
        self["file_urls"]["original"].as_str().expect("a link to the original")
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let asked = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.expect("a whole body").to_vec();
    Answer { request: asked, status, headers, body }
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Self {
        assert_eq!(
            self.status,
            status,
            "{:?}: {}",
            self.request,
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    pub(crate) fn html(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer sends the browser to this path.
    #[track_caller]
    pub(crate) fn expect_redirect(self, path: &str) -> Self {
        let answer = self.expect(StatusCode::SEE_OTHER);
        assert_eq!(answer.header("location"), path);
        answer
    }

    /// The answer is a page with all of these texts.
    #[track_caller]
    pub(crate) fn expect_page(self, status: StatusCode, texts: &[&str]) -> String {
        let html = self.expect(status).html();
        for text in texts {
            assert!(html.contains(text), "no {text:?} in {html}");
        }
        html
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().expect("text")
    }

    /// The answer is this problem, complete and as the description of the API says.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{:?}: {}",
            self.request,
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:pictier:problem:{code}"));
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        for text in ["title", "detail"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        self.expect_described(status, code);
        problem
    }

    #[track_caller]
    fn expect_described(&self, status: u16, code: &str) {
        let (method, path) = &self.request;
        let Some(operation) =
            described(path).map(|path| &path[method.as_str().to_ascii_lowercase()])
        else {
            return;
        };
        if operation.is_null() {
            assert_eq!(code, "method-not-allowed");
            return;
        }
        let description =
            operation["responses"][status.to_string()]["description"].as_str().unwrap_or_default();
        assert!(
            description.contains(&format!("`{code}`")),
            "{method} {path} does not say {status} {code}"
        );
    }
}

/// The description of a path; `None` for a path that no route has.
fn described(path: &str) -> Option<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(api::openapi_document);
    let segments: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let matches = |template: &str| {
        let template: Vec<_> = template.split('/').collect();
        template.len() == segments.len()
            && template
                .iter()
                .zip(&segments)
                .all(|(part, segment)| part.starts_with('{') || part == segment)
    };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    paths.iter().find(|(template, _)| matches(template)).map(|(_, path)| path)
}
