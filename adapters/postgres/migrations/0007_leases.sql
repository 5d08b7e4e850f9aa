-- Leases are found by their resource or by their age, never by their holder.

drop index leases_of_holder;
