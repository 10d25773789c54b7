-- The exponent of a currency is that of every amount that was ever booked in it. Another one would multiply
-- them all: a row is never changed and never goes, whatever becomes of the currency.
CREATE TRIGGER currencies_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON currencies
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE currencies ENABLE ALWAYS TRIGGER currencies_stay;
