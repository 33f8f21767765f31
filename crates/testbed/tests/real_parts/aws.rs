//! S3 and STS say no where AWS does, so that a pass means something.

use testbed::{AccessKey, Aws};

fn refusal(result: testbed::Result<String>) -> String {
    match result {
        Ok(answer) => panic!("this must be refused: {answer}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_role_is_given_only_for_the_right_key_signature_and_external_id() {
    let aws = Aws::start().await.unwrap();
    let key = aws.server_credentials();
    let role = aws.role_arn();
    let session = aws.assume_role(key, &role, Some(aws.external_id())).await.unwrap();
    assert!(session.contains("<SessionToken>"), "{session}");

    let wrong_id = refusal(aws.assume_role(key, &role, Some("guessed")).await);
    assert!(wrong_id.contains("AccessDenied"), "{wrong_id}");
    let forged = AccessKey { id: key.id.clone(), secret: "guessed".into() };
    let wrong_signature = refusal(aws.assume_role(&forged, &role, Some(aws.external_id())).await);
    assert!(wrong_signature.contains("SignatureDoesNotMatch"), "{wrong_signature}");
    let stranger = AccessKey { id: "AKIASTRANGER".to_owned(), secret: "guessed".into() };
    let unknown_key = refusal(aws.assume_role(&stranger, &role, Some(aws.external_id())).await);
    assert!(unknown_key.contains("InvalidClientTokenId"), "{unknown_key}");
}

#[tokio::test]
async fn buckets_are_closed_to_those_without_a_key() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("exports").await.unwrap();
    aws.put_object("exports", "a folder/ü+1.csv", "text").await.unwrap();
    let anonymous = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer =
        anonymous.get(format!("{}/exports/a%20folder/%C3%BC%2B1.csv", aws.endpoint())).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    aws.delete_object("exports", "a folder/ü+1.csv").await.unwrap();
    let again = aws.create_role("Narrow", "another-id", &["s3:GetObject"], &["arn:aws:s3:::exports/*"]).await;
    assert_eq!(again.unwrap(), "arn:aws:iam::123456789012:role/Narrow");
}
