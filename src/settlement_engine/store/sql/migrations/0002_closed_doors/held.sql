-- A settlement that screening has parked is released or declined by two people, by the same proposals as a
-- payment in doubt. The number of sendings is then the number of the move that parked it: what was approved
-- counts for that parking and for no later one.
-- squawk-ignore ban-drop-constraint
ALTER TABLE resolutions DROP CONSTRAINT resolutions_finding_check;
-- The lists only grow: what stands there fulfils them.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE resolutions ADD CONSTRAINT resolutions_finding_check CHECK (
    finding IN ('settled', 'not_settled', 'release', 'decline')
);
-- squawk-ignore ban-drop-constraint
ALTER TABLE resolutions DROP CONSTRAINT resolutions_state_check;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE resolutions ADD CONSTRAINT resolutions_state_check CHECK (
    state IN ('in_doubt', 'sent', 'recalling', 'held')
    AND (state = 'held') = (finding IN ('release', 'decline'))
);
