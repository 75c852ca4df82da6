//! Asynq
