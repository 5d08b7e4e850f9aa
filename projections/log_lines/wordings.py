"""What each public event says in the log, behind the name of its stream."""

from domain.accounting import Accounting
from domain.agents import Agent
from domain.budgets import Budget, CostSettings
from domain.checkpoints import Asset, Checkpoint
from domain.costs import Cost
from domain.llm_jobs import ExecutionSettings, LlmJob
from domain.prices import ImportedCard
from domain.projects import Project
from domain.provider_health import HealthSettings, ProviderHealth
from domain.providers import Provider
from domain.webhooks import Webhook
from projections.log_lines.rendering import says

# --- projects ---

says(Project.Created, "created[ from blueprint {blueprint_name}]")
says(Project.PhaseAdded, "phase {name} added")
says(Project.AgentAdded, "agent {name} added to phase {phase}[, after {depends_on}]")
says(Project.AgentRemoved, "agent {name} removed")
says(Project.Initialized, "ready to be started")
says(Project.Started, "started with phase {phase}")
says(Project.Paused, "paused ({reason})", "warning")
says(Project.Resumed, "resumed")
says(Project.PhaseAdvanced, "phase {from_phase} is through, phase {to_phase} began")
says(Project.PhaseReopened, "went back from phase {from_phase} to phase {to_phase}", "warning")
says(Project.Completed, "completed")
says(Project.Failed, "failed ({reason})[ because of agent {agent}]", "error")
says(Project.Cancelled, "cancelled ({reason})", "warning")
says(Project.Archived, "archived")
says(Project.SettingsChanged, "settings changed")
says(Project.QualitySettingsChanged, "quality settings changed")
says(Project.AiConfigChanged, "AI config changed")
says(Project.Reset, "reset ({what}), to begin with phase {phase}[; again: {agents}]", "warning")

# --- agents ---

says(Agent.Defined, "defined[ in phase {phase}]")
says(Agent.Configured, "configured")
says(Agent.Redefined, "defined again[ in phase {phase}]")
says(Agent.Ready, "ready for run {run}")
says(Agent.Started, "attempt {attempt} of run {run} began")
says(Agent.Waiting, "attempt {attempt} of run {run} is held back[: waits for {waiting_for}]")
says(Agent.Progressed, "attempt {attempt} of run {run} is at {percentage} %")
says(Agent.Completed, "completed with version {asset_version} of its result")
says(Agent.Failed, "failed ({code}): {reason}", "error")
says(Agent.RetryScheduled, "attempt {attempt} of run {run} is due at {due_at} ({code}: {reason})", "warning")
says(Agent.Skipped, "skipped because of agent {because}", "warning")
says(Agent.Reset, "reset: run {run} is to come", "warning")
says(Agent.Cancelled, "cancelled ({reason})", "warning")
says(Agent.Recovered, "lost the worker of attempt {attempt}; its job goes on after try {job_attempt}", "warning")
says(Agent.Removed, "removed", "warning")

# --- LLM jobs ---

says(LlmJob.Queued, "queued for {provider}/{model}")
says(
    LlmJob.Admitted,
    "try {attempt} admitted for {worker} to {provider}/{model}: at most {bound} USD at rate {rate_id}",
)
says(LlmJob.Started, "try {attempt} sent, to be answered by {hold_expires_at}")
says(LlmJob.FirstToken, "try {attempt} began to answer after {first_token_ms} ms")
says(
    LlmJob.Parked,
    "parked: {requested unit} do not fit under {limit unit} of {scope} ({settled} spent, {held} held)",
    "warning",
)
says(LlmJob.Shaped, "try {attempt} may write {max_output_tokens} tokens of {asked}: a budget is short", "warning")
says(LlmJob.Denied, "try {attempt} at {provider}/{model} denied ({kind}): {reason}", "warning")
says(LlmJob.Resumed, "back in the queue")
says(LlmJob.Completed, "answered by {provider}/{model} in {total_ms} ms for {cost} USD ({finish_reason})")
says(LlmJob.DeadLettered, "a dead letter after {attempts} tries ({kind})", "warning")
says(LlmJob.Requeued, "back in the queue after {attempts} tries, for up to {max_attempts} in all")
says(ExecutionSettings.Chosen, "execution settings chosen")
says(ExecutionSettings.Changed, "execution settings changed")
says(LlmJob.Failed, "failed at try {attempt}, at {provider}/{model} ({kind}): {reason}", "error")
says(
    LlmJob.RetryScheduled,
    "try {attempt} at {provider}/{model} failed ({kind}: {reason}); the next one, at {next_provider}/{next_model}, is"
    " due at {due_at}",
    "warning",
)
says(
    LlmJob.Rerouted,
    "try {attempt} goes on to {next_provider}/{next_model} ({provider}/{model} {kind}: {reason})",
    "warning",
)
says(LlmJob.AttemptLost, "try {attempt} lost its worker", "warning")
says(LlmJob.LateUsage, "try {attempt} reported late: {cost} USD", "warning")
says(LlmJob.Cancelled, "cancelled: {reason}", "warning")
says(LlmJob.ResultDelivered, "outcome delivered to {to}")

# --- money ---

CHARGE = "{amount} USD, {input_tokens} input and {output_tokens} output tokens"
"""What an attempt may use, or has used: a budget may limit all three."""

says(Budget.Opened, "opened with {limit unit} ({name})")
says(Budget.Reopened, "opened again with {limit unit} ({name})")
says(Budget.LimitAdded, "limited to {limit unit} besides ({name})")
says(Budget.LimitChanged, "limit changed from {previous} to {limit} ({name})")
says(Budget.LimitRemoved, "limit {name} removed")
says(Budget.WindowRolled, "next window of {name}: {settled} spent and {held} held no longer count")
says(Budget.Reserved, f"{CHARGE} held for try {{attempt_id}}")
says(
    Budget.Settled,
    f"{CHARGE} spent by try {{attempt_id}}; held were {{held}} USD,"
    " {held_input_tokens} and {held_output_tokens} tokens",
)
says(Budget.Released, f"{CHARGE} released: try {{attempt_id}} cost nothing")
says(Budget.HoldExpired, f"{CHARGE} count as spent: nobody reported try {{attempt_id}} in time", "warning")
says(
    Budget.Adjusted,
    "corrected by {delta} USD, {input_delta} input and {output_delta} output tokens for try {attempt_id}",
    "warning",
)
says(Budget.ThresholdCrossed, "{percent} % of {limit unit} reached ({name}): {settled} spent, {held} held", "warning")
says(
    Budget.JobParked,
    "job {job_id} waits for {requested} USD, {input_tokens} input and {output_tokens} output tokens",
    "warning",
)
says(Budget.Rebooked, "corrected by {delta} USD for try {attempt_id}, which had been settled", "warning")
says(Budget.JobUnparked, "job {job_id} waits no longer")
says(Budget.Overdrawn, "overdrawn: try {attempt_id} took {amount unit}, {held unit} were held", "error")
says(Budget.Closed, "closed")
says(CostSettings.Chosen, "cost settings chosen")
says(CostSettings.Changed, "cost settings changed")
says(Cost.Recorded, "{amount} USD for {provider}/{model}")
says(Cost.Corrected, "corrected from {previous} to {amount} USD", "warning")
says(Cost.ReRated, "re-rated from {previous} to {amount} USD by {card} ({reason})", "warning")
says(ImportedCard.Imported, "{name} imported by {by}: it waits for its approval")
says(ImportedCard.Published, "{name} approved by {by}: it is in force", "warning")
says(ImportedCard.Retired, "{name} retired from {from_day} on by {by}", "warning")
says(ImportedCard.Withdrawn, "{name} withdrawn by {by}")
says(Accounting.Opened, "accounting periods opened")
says(Accounting.MonthClosed, "{month} and all months before it closed by {by}", "warning")

# --- checkpoints and assets ---

says(Checkpoint.Requested, "version {asset_version} waits for a decision[ until {due_at}]")
says(Checkpoint.Viewed, "looked at by {by}")
says(Checkpoint.Escalated, "{by} presses for a decision", "warning")
says(Checkpoint.Resolved, "{decision} by {by}, on version {asset_version}")
says(Checkpoint.Expired, "expired undecided", "warning")
says(Checkpoint.Withdrawn, "withdrawn ({reason})", "warning")
says(Asset.Created, "version {version} by {by}: {size} bytes of {media_type}")
says(Asset.Superseded, "version {version} by {by}: {size} bytes of {media_type}")
says(Asset.Approved, "version {version} approved by {by}")
says(Asset.Rejected, "version {version} rejected by {by}", "warning")

# --- providers ---

says(Provider.Registered, "registered as {kind}")
says(Provider.Restored, "registered again as {kind}")
says(Provider.Configured, "configured")
says(Provider.Removed, "removed", "warning")
says(ProviderHealth.HealthWatched, "watched from now on")
says(
    ProviderHealth.HealthChanged,
    "{level}, before {previous}: errors {error_rate} of 1[, {latency_ms} ms] over the last {samples}",
    "warning",
)
says(
    ProviderHealth.CircuitOpened,
    "circuit[ of model {model}] opened ({cause}): {reason}[; the first probe from {retry_at}]",
    "error",
)
says(ProviderHealth.CircuitHalfOpened, "circuit[ of model {model}] half open: job {job_id} probes it", "warning")
says(ProviderHealth.ProbeAbandoned, "circuit[ of model {model}] still open: its probe says nothing ({kind})", "warning")
says(ProviderHealth.CircuitClosed, "circuit[ of model {model}] closed ({cause})")
says(ProviderHealth.RateLimited, "our rate limit is reached[ with key {key_id}], until {until}", "warning")
says(ProviderHealth.CreditExhausted, "{reason}", "error")
says(HealthSettings.Chosen, "health settings chosen")
says(HealthSettings.Changed, "health settings changed")

# --- webhooks ---

says(Webhook.Subscribed, "told of {types} from now on, by {by}")
says(Webhook.Changed, "changed by {by}[: told of {types}]")
says(Webhook.Paused, "paused by {by}", "warning")
says(Webhook.Resumed, "resumed by {by}")
says(Webhook.SecretRotated, "secret rotated by {by}; the old one signs until {old_until}")
says(Webhook.ReplayRequested, "told again of everything from position {from_position} on, by {by}")
says(Webhook.DeadLettersRequeued, "what was given up is tried again, by {by}[: position {position}]")
says(Webhook.Disabled, "disabled ({reason}): {detail}", "error")
says(Webhook.Removed, "removed by {by}", "warning")
