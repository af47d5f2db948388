//! What an answer cost, in the shape of Loki's `stats`.
//!
//! Loki counts the work of parts that Kenning does not have (ingesters, caches, chunks); those counts are zero because
//! nothing was done there. What was really done stands in `summary` and `querier.store.chunk`.

use std::time::Duration;

use kenning_logql::Stats;

use crate::json::Json;

const CACHES: [&str; 10] = [
    "chunk",
    "index",
    "statsResult",
    "seriesResult",
    "labelResult",
    "volumeResult",
    "instantMetricResult",
    "result",
    "logResult",
    "taskResult",
];
const CACHE: [&str; 8] = [
    "entriesFound",
    "entriesRequested",
    "entriesStored",
    "bytesReceived",
    "bytesSent",
    "requests",
    "downloadTime",
    "queryLengthServed",
];
const STORE: [&str; 5] = [
    "chunksDownloadTime",
    "congestionControlLatency",
    "totalChunksRef",
    "totalChunksDownloaded",
    "chunkRefsFetchTime",
];
const DATAOBJ: [&str; 14] = [
    "pageBatches",
    "pagesDownloaded",
    "pagesDownloadedBytes",
    "pagesScanned",
    "postFilterRows",
    "postPredicateRows",
    "postPredicateDecompressedBytes",
    "postPredicateStructuredMetadataBytes",
    "prePredicateDecompressedRows",
    "prePredicateDecompressedBytes",
    "prePredicateDecompressedStructuredMetadataBytes",
    "totalPageDownloadTime",
    "totalRowsAvailable",
    "wireBytesTransferred",
];

fn zeros(json: &mut Json, names: &[&str]) {
    names.iter().for_each(|name| json.key(name).int(0));
}

/// Writes the object. `lines` is how many lines the answer holds.
pub(super) fn write(json: &mut Json, stats: &Stats, took: Duration, lines: usize) {
    json.object(|json| {
        json.key("index").object(|json| {
            zeros(json, &["bloomFilterTime", "chunkRefsLookupTime", "postFilterChunks"]);
            zeros(json, &["totalChunks", "totalStreams"]);
            json.key("usedBloomFilters").bool(false);
            zeros(json, &["shardsDuration"]);
        });
        json.key("ingester").object(|json| {
            json.key("store").object(|json| store(json, &Stats::default(), 0));
            zeros(json, &["totalBatches", "totalChunksMatched", "totalLinesSent", "totalReached"]);
        });
        json.key("querier").object(|json| {
            json.key("querierExecTime").number(took.as_secs_f64());
            json.key("store").object(|json| store(json, stats, lines));
        });
        json.key("cache").object(|json| {
            for cache in CACHES {
                json.key(cache).object(|json| zeros(json, &CACHE));
            }
        });
        json.key("summary").object(|json| summary(json, stats, took, lines));
    });
}

fn store(json: &mut Json, stats: &Stats, lines: usize) {
    zeros(json, &STORE);
    json.key("queryReferencedStructuredMetadata").bool(false);
    json.key("queryUsedV2Engine").bool(false);
    zeros(json, &["pipelineWrapperFilteredLines"]);
    json.key("chunk").object(|json| {
        zeros(json, &["compressedBytes"]);
        json.key("decompressedBytes").int(stats.bytes as i64);
        json.key("decompressedLines").int(stats.lines as i64);
        zeros(json, &["decompressedStructuredMetadataBytes", "headChunkBytes", "headChunkLines"]);
        zeros(json, &["headChunkStructuredMetadataBytes"]);
        json.key("postFilterLines").int(lines as i64);
        zeros(json, &["totalDuplicates"]);
    });
    json.key("dataobj").object(|json| zeros(json, &DATAOBJ));
}

fn summary(json: &mut Json, stats: &Stats, took: Duration, lines: usize) {
    let per_second = |count: u64| {
        let rate = count as f64 / took.as_secs_f64();
        if rate.is_finite() { rate as i64 } else { 0 }
    };
    json.key("bytesProcessedPerSecond").int(per_second(stats.bytes));
    json.key("execTime").number(took.as_secs_f64());
    json.key("linesProcessedPerSecond").int(per_second(stats.lines));
    zeros(json, &["queueTime", "shards", "splits", "subqueries"]);
    json.key("totalBytesProcessed").int(stats.bytes as i64);
    json.key("totalEntriesReturned").int(lines as i64);
    json.key("totalLinesProcessed").int(stats.lines as i64);
    zeros(json, &["totalStructuredMetadataBytesProcessed"]);
    json.key("totalPostFilterLines").int(lines as i64);
}
