-- Push to customers: the team has decided. This file locks only review_cases: a migration that locks two tables of the
-- money can deadlock with a confirmation.
--
-- A worker of the previous version takes the deadline and finds no reason that it knows. So during a deploy a customer
-- can miss this push. The decision still stands on the home screen.
CREATE TRIGGER review_cases_decided_push AFTER UPDATE ON review_cases FOR EACH ROW
    WHEN (
        NEW.status = 'decided' AND (NOT NEW.needs_approval OR NEW.approved_by IS NOT NULL)
        AND (OLD.status = 'open' OR OLD.approved_by IS NULL AND NEW.approved_by IS NOT NULL)
    )
    EXECUTE FUNCTION decision_to_push();
