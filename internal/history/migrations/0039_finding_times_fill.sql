-- Fills finding_times from every insert into findings.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.finding_times_fill TO ${database}.finding_times AS
SELECT
    tenant,
    time,
    event_id,
    id,
    min(logged) AS decided,
    min(if(ingested > toDateTime64(0, 3, 'UTC'), greatest(0, toUnixTimestamp64Milli(logged) - toUnixTimestamp64Milli(ingested)), NULL)) AS took
FROM ${database}.findings
GROUP BY tenant, time, event_id, id
