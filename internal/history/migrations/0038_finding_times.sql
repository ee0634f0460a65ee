-- When a decision entered the log first. findings keep what entered it last, after the detector wrote one twice. Nobody is in
-- here by more than the hashes that name events and findings.
CREATE TABLE IF NOT EXISTS ${database}.finding_times
(
    tenant   LowCardinality(String),
    time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id FixedString(16) CODEC(NONE),
    id       FixedString(16) CODEC(NONE),
    decided  SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    -- From the event's acceptance to decided, in milliseconds; NULL when the former is not known.
    took     SimpleAggregateFunction(min, Nullable(Int64)) CODEC(ZSTD(1)),
    INDEX by_event event_id TYPE bloom_filter(0.001) GRANULARITY 4
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, time, event_id, id)
TTL toDateTime(decided) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
