-- One row a requirement with its newest status: open, satisfied or expired.
CREATE TABLE IF NOT EXISTS ${database}.revocations
(
    tenant         LowCardinality(String),
    requirement    String CODEC(ZSTD(1)),
    -- Grows with every status: a closed requirement outranks an open one, whatever comes in late.
    version        UInt64 CODEC(ZSTD(1)),
    logged         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    user_id        String CODEC(ZSTD(1)),
    -- Empty when it holds for all sessions of the user.
    session_id     String CODEC(ZSTD(1)),
    action         LowCardinality(String),
    status         LowCardinality(String),
    -- Proofs before this moment do not count; it is when the requirement was opened.
    not_before     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    expires        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    -- 1970-01-01 while it is open.
    closed         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    severity       LowCardinality(String),
    scope          LowCardinality(String),
    -- Authentication context classes, joined by ' '.
    acr_values     LowCardinality(String),
    max_age        UInt32 CODEC(ZSTD(1)),
    policy         LowCardinality(String),
    policy_version LowCardinality(String),
    reason         String CODEC(ZSTD(1)),
    event_id       String CODEC(ZSTD(1)),
    satisfied_by   String CODEC(ZSTD(1)),
    jti            String CODEC(ZSTD(1)),
    raw            String CODEC(ZSTD(1)),
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(version)
-- Not partitioned: a requirement's rows must meet whatever they say, and there are few of them.
ORDER BY (tenant, requirement)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1
