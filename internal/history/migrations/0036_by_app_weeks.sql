-- Weeks besides hours and days, step 604800: a question about a year reads few sets, and those are bounded. Weeks begin on
-- Thursdays, as the epoch does.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.by_app_weeks TO ${database}.by_app AS
SELECT
    tenant,
    604800::UInt32 AS step,
    toDateTime(intDiv(toUnixTimestamp(toDateTime(time, 'UTC')), step) * step, 'UTC') AS bucket,
    app_id,
    max(e.app_name) AS app_name,
    max(time) AS last,
    uniqCombinedState(12)(reinterpretAsUInt32(id)) AS events,
    uniqCombinedIfState(12)(reinterpretAsUInt32(id), outcome IN ('failure', 'blocked')) AS failures,
    uniqCombinedState(12)(toUInt32(cityHash64(tenant, user_id) % 4294967296)) AS users
FROM ${database}.events AS e
WHERE app_id != '' AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, step, bucket, app_id
