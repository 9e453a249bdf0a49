# A worker of Delayed Job as a Ruby script with ActiveRecord, without Rails: the gem itself, its table as its generator makes it, and one
# class of jobs. Nothing of the gem is changed. Its settings come from the environment; README.md says which.
require "json"
require "logger"
require "active_record"
require "delayed_job_active_record"

$stdout.sync = true

# A job: `body` is {"id": …, "ms": …}. Its effect is a row of the table `effects`.
Work = Struct.new(:body) do
  def job = JSON.parse(body)

  def perform
    id, ms = job.values_at("id", "ms")
    puts "job #{id} started"
    sleep ms.to_i / 1000.0
    ActiveRecord::Base.connection.exec_insert("INSERT INTO effects (job) VALUES ($1)", "effect", [bind("job", id)])
    puts "job #{id} finished"
  end

  # What the gem's own lines call the job.
  def display_name = "Work #{job["id"]}"

  private

  def bind(name, value) = ActiveRecord::Relation::QueryAttribute.new(name, value, ActiveRecord::Type::String.new)
end

# Says what became of a job when the gem is done with it: its row is gone, or it was unlocked and waits for its next attempt.
class Tell < Delayed::Plugin
  callbacks do |lifecycle|
    lifecycle.around(:perform) do |worker, job, &block|
      done = block.call(worker, job)
      puts "job #{job.payload_object.job["id"]} #{done ? "settled" : "returned"}"
      done
    end
  end
end

# What `rails generate delayed_job:active_record` and a migration of the app would have made. One worker at a time looks whether it is there.
def migrate
  ActiveRecord::Migration.verbose = false
  ActiveRecord::Base.transaction do
    ActiveRecord::Base.connection.execute("SELECT pg_advisory_xact_lock(20451)")
    ActiveRecord::Base.connection.execute("CREATE TABLE IF NOT EXISTS effects (job text NOT NULL)")
    create_delayed_jobs(ActiveRecord::Base.connection) unless ActiveRecord::Base.connection.table_exists?(:delayed_jobs)
  end
end

def create_delayed_jobs(connection)
  connection.create_table :delayed_jobs do |table|
    table.integer :priority, default: 0, null: false
    table.integer :attempts, default: 0, null: false
    table.text :handler, null: false
    table.text :last_error
    table.datetime :run_at
    table.datetime :locked_at
    table.datetime :failed_at
    table.string :locked_by
    table.string :queue
    table.timestamps null: true
  end
  connection.add_index :delayed_jobs, %i[priority run_at], name: "delayed_jobs_priority"
end

ActiveRecord::Base.establish_connection(ENV.fetch("DATABASE_URL"))
migrate

Delayed::Worker.plugins << Tell
Delayed::Worker.sleep_delay = Float(ENV.fetch("SLEEP_DELAY_S", "0.1"))
Delayed::Worker.max_run_time = Integer(ENV["MAX_RUN_TIME_S"]).seconds if ENV["MAX_RUN_TIME_S"]
Delayed::Worker.raise_signal_exceptions = { "finish" => false, "raise" => :term }.fetch(ENV.fetch("ON_TERM", "finish"))

worker = Delayed::Worker.new(queues: [ENV.fetch("QUEUE", "jobs")], quiet: false)
worker.name = ENV["WORKER_NAME"] if ENV["WORKER_NAME"]
worker.name_prefix = "#{ENV["WORKER_PREFIX"]} " if ENV["WORKER_PREFIX"]
worker.start
