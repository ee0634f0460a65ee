-- One row for each thing that an application did with a requirement.
CREATE TABLE IF NOT EXISTS ${database}.receipts
(
    tenant      LowCardinality(String),
    requirement String CODEC(ZSTD(1)),
    time        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id          String CODEC(ZSTD(1)),
    logged      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    user_id     String CODEC(ZSTD(1)),
    session_id  String CODEC(ZSTD(1)),
    jti         String CODEC(ZSTD(1)),
    app         LowCardinality(String),
    status      LowCardinality(String),
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(logged)
PARTITION BY toYYYYMM(time)
-- Receipts are read for one requirement, in the order of time.
ORDER BY (tenant, requirement, time, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
