//! What is written of services, in all formats.
