-- Findings by five minutes, for the overview. Rows of the source repeat, so it holds sets of ids and never counts.
CREATE TABLE IF NOT EXISTS ${database}.finding_counts
(
    tenant      LowCardinality(String),
    bucket      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    detection   LowCardinality(String),
    severity    LowCardinality(String),
    disposition LowCardinality(String),
    findings    AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, bucket, detection, severity, disposition)
TTL bucket + INTERVAL 800 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
