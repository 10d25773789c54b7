-- Sides of accounts that turnover never fills. Eight bytes were full after 4.6e18 minor units in the whole life
-- of an account: from then on a payment that the bank had made could never be posted.

-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN account_side AS numeric CHECK (
    VALUE BETWEEN 0 AND 99999999999999999999999999999999999999 AND VALUE = trunc(VALUE)
);

-- The views stand on the columns, and are made anew below as they were.
-- squawk-ignore ban-drop-view
DROP VIEW nostro_accounts;
-- squawk-ignore ban-drop-view
DROP VIEW vostro_accounts;
-- The constraint is of the old type, to which it would cast the new one; it is made anew below.
-- squawk-ignore ban-drop-constraint
ALTER TABLE accounts DROP CONSTRAINT no_overdraft;
-- The table is rewritten: it holds one row per account. The calls need the new type from here on.
ALTER TABLE accounts
-- squawk-ignore changing-column-type
ALTER COLUMN debits_posted TYPE account_side,
-- squawk-ignore changing-column-type
ALTER COLUMN credits_posted TYPE account_side,
-- squawk-ignore changing-column-type
ALTER COLUMN held TYPE account_side;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE accounts ADD CONSTRAINT no_overdraft CHECK (
    CASE kind
        WHEN 'nostro' THEN debits_posted - credits_posted - held + credit_limit >= 0
        WHEN 'vostro' THEN credits_posted - debits_posted - held + credit_limit >= 0
        ELSE true
    END
);
-- squawk-ignore ban-drop-domain
DROP DOMAIN ledger_side;

CREATE VIEW nostro_accounts AS
SELECT a.id, a.bank, a.account_number, a.currency,
    round((a.debits_posted - a.credits_posted) / power(10::numeric, c.exponent), c.exponent)
        AS balance,
    round((a.debits_posted - a.credits_posted - a.held) / power(10::numeric, c.exponent), c.exponent)
        AS available_balance,
    a.last_reconciled_at AS last_reconciled, a.is_active, a.opened_at AS created_at
FROM accounts AS a JOIN currencies AS c ON c.code = a.currency
WHERE a.kind = 'nostro';

CREATE VIEW vostro_accounts AS
SELECT a.id, a.bank, a.account_number, a.currency,
    round((a.credits_posted - a.debits_posted) / power(10::numeric, c.exponent), c.exponent)
        AS balance,
    round(a.credit_limit / power(10::numeric, c.exponent), c.exponent) AS credit_limit,
    a.is_active, a.opened_at AS created_at
FROM accounts AS a JOIN currencies AS c ON c.code = a.currency
WHERE a.kind = 'vostro';
