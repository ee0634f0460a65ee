-- For people's own reports: every requirement once, with its status now. docs/history.md says what the columns are.
CREATE OR REPLACE VIEW ${database}.v_revocations AS
SELECT
    tenant,
    requirement,
    not_before AS opened,
    if(r.status = 'open' AND expires < now64(3), 'expired', r.status) AS status,
    expires,
    multiIf(r.status != 'open', r.closed, expires < now64(3), expires, NULL) AS closed,
    if(r.status = 'satisfied', dateDiff('second', not_before, r.closed), NULL) AS seconds_to_satisfy,
    user_id,
    session_id AS session,
    scope,
    action,
    severity,
    acr_values,
    policy,
    policy_version,
    reason,
    event_id AS event,
    satisfied_by
FROM (SELECT * FROM ${database}.revocations FINAL) AS r
