//! The watches against a scripted API server.
