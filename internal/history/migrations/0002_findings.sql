-- One row a finding, with the columns that people filter by; the finding as a whole is in raw.
CREATE TABLE IF NOT EXISTS ${database}.findings
(
    tenant         LowCardinality(String),
    time           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id             FixedString(16) CODEC(NONE),
    logged         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ingested       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    detection      LowCardinality(String),
    version        UInt32 CODEC(ZSTD(1)),
    severity       LowCardinality(String),
    disposition    LowCardinality(String),
    user_id        String CODEC(ZSTD(1)),
    user_name      String CODEC(ZSTD(1)),
    event_id       FixedString(16) CODEC(NONE),
    session_id     String CODEC(ZSTD(1)),
    ip             IPv6 CODEC(ZSTD(1)),
    country        LowCardinality(String),
    technique      LowCardinality(String),
    action         LowCardinality(String),
    observed       UInt8 CODEC(ZSTD(1)),
    policy         LowCardinality(String),
    policy_version LowCardinality(String),
    requirement    String CODEC(ZSTD(1)),
    raw            String CODEC(ZSTD(1)),
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_id id TYPE bloom_filter(0.001) GRANULARITY 4,
    INDEX by_event event_id TYPE bloom_filter(0.001) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(logged)
-- By the finding's own time, which is its event's: repeats of a finding meet in one partition.
PARTITION BY toYYYYMM(time)
-- The page of findings walks a tenant from the newest back, and its cursor is (time, id).
ORDER BY (tenant, time, id)
-- Decisions are kept for an audit year and a month, longer than the events they came from.
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
