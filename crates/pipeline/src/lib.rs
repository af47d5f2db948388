//! Between receipt and store: limits, processors, group commit.
