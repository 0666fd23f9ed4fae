//! The description of the API says what the API does.

use std::collections::BTreeSet;

use api::ProblemCode;
use reqwest::StatusCode;
use serde_json::Value;

use crate::harness::TestApp;

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let operations = item.as_object().expect("operations").clone();
        let path = path.clone();
        operations.into_iter().map(move |(method, operation)| (method, path.clone(), operation))
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn the_description_is_served_and_the_docs_page_shows_it() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    let document = nobody.get("/api/openapi.json").await.expect(StatusCode::OK).json();
    assert_eq!(document, api::openapi_document());
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let page = nobody.get("/api/docs/").await.expect(StatusCode::OK);
    assert!(String::from_utf8_lossy(&page.body).contains("swagger-ui"));
    assert_eq!(
        nobody.get("/api/docs").await.expect(StatusCode::SEE_OTHER).header("location"),
        "/api/docs/"
    );
    nobody.get("/api/docs/swagger-ui.css").await.expect(StatusCode::OK);
}

#[test]
fn every_route_of_the_design_is_described() {
    let described: BTreeSet<String> = operations(&api::openapi_document())
        .into_iter()
        .map(|(method, path, _)| format!("{} {path}", method.to_uppercase()))
        .collect();
    let expected = [
        "DELETE /api/account",
        "DELETE /api/images/{pk}",
        "DELETE /api/images/{pk}/expiring_links/{id}",
        "DELETE /api/session",
        "DELETE /api/tokens/{id}",
        "GET /api/changes",
        "GET /api/events",
        "GET /api/images",
        "GET /api/images/{pk}",
        "GET /api/images/{pk}/events",
        "GET /api/images/{pk}/expiring_links",
        "GET /api/images/{pk}/thumbnails/{height}",
        "GET /api/session",
        "GET /api/thumbnails",
        "GET /api/tokens",
        "GET /healthz",
        "GET /readyz",
        "GET /user_content/expiring/{file}",
        "GET /user_content/original/{file}",
        "GET /user_content/resized/{file}",
        "PATCH /api/images/{pk}",
        "POST /api/images",
        "POST /api/images/{pk}/expiring_links",
        "POST /api/images/{pk}/thumbnails/{height}/retry",
        "POST /api/session",
        "POST /api/session/password",
        "POST /api/thumbnails/prepare",
        "POST /api/tokens",
    ];
    assert_eq!(described, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn every_described_route_is_there() {
    let app = TestApp::start().await;
    for (method, path, _) in operations(&api::openapi_document()) {
        let path = path
            .replace("{pk}", "1")
            .replace("{height}", "200")
            .replace("{id}", "1")
            .replace("{file}", "x");
        let method = method.to_uppercase().parse().expect("a method");
        let answer = crate::harness::send(app.anonymous().request(method, &path)).await;
        assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        if answer.status == StatusCode::NOT_FOUND {
            assert_ne!(answer.json()["detail"], "There is no such page.", "{path}");
        }
    }
}

#[test]
fn every_operation_has_an_id_a_summary_a_success_and_its_problems() {
    for (method, path, operation) in operations(&api::openapi_document()) {
        let of = format!("{method} {path}");
        assert!(operation["operationId"].is_string(), "{of}");
        assert!(operation["summary"].is_string(), "{of}");
        assert!(operation.get("x-problems").is_none(), "{of}");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{of}");
        for (status, response) in responses {
            assert!(
                response["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{of} {status}"
            );
            if status.starts_with(['4', '5']) {
                assert!(
                    response["content"]["application/problem+json"].is_object(),
                    "{of} {status}"
                );
            }
        }
    }
}

#[test]
fn every_problem_code_is_described_somewhere_under_its_status() {
    let operations = operations(&api::openapi_document());
    // these come from the router, which has no operation, and from the administrators' pages
    let of_others =
        [ProblemCode::MethodNotAllowed, ProblemCode::AdministratorsOnly, ProblemCode::TierInUse];
    for code in ProblemCode::ALL.iter().filter(|code| !of_others.contains(code)) {
        let status = code.status().as_u16().to_string();
        let text = format!("`{}`", code.as_str());
        let is_described = operations.iter().any(|(_, _, operation)| {
            operation["responses"][&status]["description"]
                .as_str()
                .is_some_and(|said| said.contains(&text))
        });
        assert!(is_described, "no operation answers with {text}");
    }
}

#[test]
fn the_schema_of_a_problem_has_the_codes_as_responses_spell_them() {
    let document = api::openapi_document();
    let names: Vec<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(document["components"]["schemas"]["ProblemCode"]["enum"], serde_json::json!(names));
    let problem = &document["components"]["schemas"]["ProblemBody"];
    for field in ["type", "title", "status", "detail", "code", "request_id"] {
        assert!(
            problem["required"]
                .as_array()
                .is_some_and(|required| required.iter().any(|name| name == field))
        );
    }
}
