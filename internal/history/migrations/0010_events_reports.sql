-- What providers report besides sign-ins: changes of accounts, their opinion of risk, what their own policies decided.
-- Empty is unknown, or not of that kind.
ALTER TABLE ${database}.events
    ADD COLUMN IF NOT EXISTS user_type LowCardinality(String) AFTER user_name,
    ADD COLUMN IF NOT EXISTS access LowCardinality(String) AFTER acr,
    ADD COLUMN IF NOT EXISTS risk LowCardinality(String) AFTER access,
    ADD COLUMN IF NOT EXISTS user_risk LowCardinality(String) AFTER risk,
    ADD COLUMN IF NOT EXISTS risk_state LowCardinality(String) AFTER user_risk,
    ADD COLUMN IF NOT EXISTS change_type LowCardinality(String) AFTER risk_state,
    ADD COLUMN IF NOT EXISTS change_action LowCardinality(String) AFTER change_type
