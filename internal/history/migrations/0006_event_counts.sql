-- Events by five minutes, for the overview. Rows of the source repeat, so it holds sets of ids and never counts.
CREATE TABLE IF NOT EXISTS ${database}.event_counts
(
    tenant  LowCardinality(String),
    bucket  DateTime('UTC') CODEC(Delta, ZSTD(1)),
    outcome LowCardinality(String),
    country LowCardinality(String),
    newest  SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    events  AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
-- A tenant's span of time is one range. No person is in here, so it may outlive the events.
ORDER BY (tenant, bucket, outcome, country)
TTL bucket + INTERVAL 800 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
