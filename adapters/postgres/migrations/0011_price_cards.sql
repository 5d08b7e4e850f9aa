-- Price cards are few among many events, and every process reads all of them when it starts.
create index events_of_price_cards on events (position)
    where type in ('price_card.imported', 'price_card.approved', 'price_card.retired', 'price_card.withdrawn');
