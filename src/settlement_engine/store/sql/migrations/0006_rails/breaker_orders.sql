-- What operators order about circuit breakers: to stop sending, to send again, to try one payment. An empty bank
-- stands for every bank of the rail. Of each rail and bank the latest order that opens or closes stands.

CREATE TABLE breaker_orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rail text NOT NULL CHECK (length(rail) BETWEEN 1 AND 64),
    bank text NOT NULL CHECK (length(bank) <= 20),
    action text NOT NULL CHECK (action IN ('open', 'close', 'probe')),
    who text NOT NULL CHECK (length(who) BETWEEN 1 AND 256),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX breaker_orders_by_lane ON breaker_orders (rail, bank, id);
CREATE TRIGGER breaker_orders_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON breaker_orders
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE breaker_orders ENABLE ALWAYS TRIGGER breaker_orders_append_only;
