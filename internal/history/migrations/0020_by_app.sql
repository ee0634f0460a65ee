-- Applications by hours and by days: step is 3600 or 86400, bucket the start of one. A question adds up whole days and
-- the hours at its ends; hours are kept for forty days. No person is in here, so it may outlive the events. Small
-- numbers are exact, large ones within two percent. The sets are of 32 bits of ids and of hashes of users.
CREATE TABLE IF NOT EXISTS ${database}.by_app
(
    tenant   LowCardinality(String),
    step     UInt32 CODEC(ZSTD(1)),
    bucket   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    app_id   String CODEC(ZSTD(1)),
    app_name SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    last     SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    events   AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1)),
    -- Of them, those that failed or were blocked.
    failures AggregateFunction(uniqCombinedIf(12), UInt32, UInt8) CODEC(ZSTD(1)),
    users    AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, step, bucket, app_id)
TTL bucket + INTERVAL 800 DAY, bucket + INTERVAL 40 DAY DELETE WHERE step = 3600
SETTINGS
    -- A row holds sets of some kilobytes, and few rows of a step lie together.
    index_granularity = 256,
    -- A month that nothing was written into for a week becomes one part.
    min_age_to_force_merge_seconds = 604800,
    min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
