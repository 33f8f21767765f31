//! connectors-api
