-- Events by five minutes of their acceptance and by source, for the sources' health. Rows of the source repeat, so it holds
-- sets of ids and never counts, and delays by class instead of a digest of them.
CREATE TABLE IF NOT EXISTS ${database}.source_counts
(
    tenant   LowCardinality(String),
    bucket   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    source   LowCardinality(String),
    family   LowCardinality(String),
    -- Class c is of delays around 2^(c/4) milliseconds, from the event to its acceptance.
    delay    UInt8,
    newest   SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    accepted SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    events   AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, bucket, source, family, delay)
TTL bucket + INTERVAL 30 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
