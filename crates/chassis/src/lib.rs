//! What both services have before they do anything: configuration, logs, health, metrics, shutdown.
