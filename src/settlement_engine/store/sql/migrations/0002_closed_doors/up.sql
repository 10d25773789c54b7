-- What a database keeps against mistakes and tampering that the first version let pass. The parts are in
-- the other files of this folder; they run after this one, in the order of their names.
SELECT 1;
