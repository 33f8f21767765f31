//! connectors-server
