using System.Text.Json;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Training;

/// <summary>Results as JSON. Numbers that are not finite are the strings "nan", "inf", "-inf".</summary>
public static class ResultJson
{
    /// <summary>Of a training run.</summary>
    public static byte[] Of(TrainingResult result, string version) => Object(json => Result(json, result, version));

    /// <summary>Of several runs that are compared.</summary>
    public static byte[] Of(IReadOnlyList<(string Name, TrainingResult Result)> runs, string version) =>
        Object(json =>
        {
            json.WriteStartArray("runs");
            foreach (var (name, result) in runs)
            {
                json.WriteStartObject();
                json.WriteString("name", name);
                Result(json, result, version);
                json.WriteEndObject();
            }
            json.WriteEndArray();
        });

    /// <summary>Of schedules.</summary>
    public static byte[] Of(IReadOnlyList<ScheduleCurve> curves, double lr, string version) =>
        Object(json =>
        {
            Number(json, "lr", lr);
            json.WriteStartArray("schedules");
            foreach (var curve in curves)
            {
                json.WriteStartObject();
                json.WriteString("name", curve.Name);
                Numbers(json, "lrs", curve.Rates);
                if (curve.MovesMomentum)
                    Numbers(json, "momenta", curve.Momenta);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteString("version", version);
        });

    /// <summary>Of repeating recorded runs.</summary>
    public static byte[] Of(ReplayReport report, string path, TrainingSettings settings, string version) =>
        Object(json =>
        {
            json.WriteString("like", path);
            json.WriteBoolean("passed", report.Passed);
            json.WriteBoolean("interrupted", report.Interrupted);
            json.WriteStartArray("rows");
            foreach (var row in report.Rows)
                Row(json, row);
            json.WriteEndArray();
            json.WriteStartArray("skipped");
            foreach (var (run, reason) in report.Skipped)
            {
                json.WriteStartObject();
                json.WriteString("optimizer", run.Optimizer);
                json.WriteString("dtype", run.DType);
                json.WriteString("reason", reason);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            Where(json, settings, version);
        });

    private static void Result(Utf8JsonWriter json, TrainingResult result, string version)
    {
        var settings = result.Settings;
        Number(json, "test_accuracy", result.TestAccuracy);
        Number(json, "train_accuracy", result.TrainAccuracy);
        if (result.AveragedTestAccuracy is { } averaged)
            Number(json, "averaged_test_accuracy", averaged);
        Numbers(json, "losses", result.Losses);
        for (var i = 0; i < result.Optimizers.Count; i++)
            Numbers(json, i == 0 ? "lrs" : FormattableString.Invariant($"lrs_{i + 1}"), result.History.Rates[i]);
        json.WriteStartArray("accuracies");
        foreach (var point in result.History.Accuracies)
        {
            json.WriteStartObject();
            json.WriteNumber("step", point.Steps);
            Number(json, "test_accuracy", point.Accuracy);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        Number(json, "seconds", result.Seconds);
        json.WriteBoolean("interrupted", result.Interrupted);
        Optimizer(json, result.Optimizers[0]);
        if (result.Optimizers.Count > 1)
        {
            json.WriteStartArray("beside");
            foreach (var other in result.Optimizers.Skip(1))
            {
                json.WriteStartObject();
                Optimizer(json, other);
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        if (settings.Schedule is { } schedule)
        {
            json.WriteString("scheduler", schedule.Kind.Name);
            json.WriteStartObject("scheduler_args");
            Options(json, schedule.For(settings.Steps));
            json.WriteEndObject();
        }
        if (!settings.Groups.IsEmpty)
        {
            json.WriteStartArray("groups");
            foreach (var group in settings.Groups)
                json.WriteStringValue(group.ToString());
            json.WriteEndArray();
        }
        if (settings.Clip is { } clip)
            Number(json, "clip", clip);
        if (settings.Ema is { } ema)
            Number(json, "ema", ema);
        json.WriteString("data", settings.Data.Name);
        json.WriteNumber("epochs", settings.Epochs);
        json.WriteNumber("batch_size", settings.BatchSize);
        if (settings.Leaves is { } leaves)
            json.WriteNumber("leaves", leaves);
        Numbers(json, "hidden", settings.Hidden.Select(size => (double)size));
        json.WriteNumber("seed", settings.Seed);
        json.WriteString("dtype", settings.DType.Name());
        Where(json, settings, version);
    }

    private static void Optimizer(Utf8JsonWriter json, OptimizerUsed optimizer)
    {
        json.WriteString("optimizer", optimizer.Name);
        if (optimizer.Which.Length > 0)
            json.WriteString("parameters", optimizer.Which);
        json.WriteStartObject("options");
        Options(json, optimizer.Options);
        json.WriteEndObject();
    }

    private static void Options(Utf8JsonWriter json, IEnumerable<(string Name, OptionValue Value)> options)
    {
        foreach (var (name, value) in options)
        {
            json.WritePropertyName(name);
            OptionJson.Write(json, value);
        }
    }

    private static void Row(Utf8JsonWriter json, ReplayRow row)
    {
        json.WriteStartObject();
        json.WriteString("optimizer", row.Run.Optimizer);
        json.WritePropertyName("options");
        row.Run.Options.WriteTo(json);
        json.WriteString("dtype", row.Run.DType);
        json.WriteNumber("steps", row.Losses.Count);
        Number(json, "largest_loss_difference", row.LargestLossDifference);
        if (row.Run.Scheduler is { } scheduler)
        {
            json.WriteString("scheduler", scheduler);
            Number(json, "largest_rate_difference", row.LargestRateDifference);
        }
        Number(json, "test_accuracy", row.TestAccuracy);
        Number(json, "recorded_test_accuracy", row.Run.TestAccuracy);
        Number(json, "first_layer_checksum_difference", row.FirstChecksumDifference);
        Number(json, "second_layer_checksum_difference", row.SecondChecksumDifference);
        json.WriteBoolean("passed", row.Passed);
        Numbers(json, "losses", row.Losses);
        json.WriteEndObject();
    }

    private static void Where(Utf8JsonWriter json, TrainingSettings settings, string version)
    {
        json.WriteString("backend", settings.Backend.ToString().ToLowerInvariant());
        json.WriteNumber("threads", settings.ThreadCount);
        json.WriteString("version", version);
    }

    private static byte[] Object(Action<Utf8JsonWriter> write)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }
        bytes.WriteByte((byte)'\n');
        return bytes.ToArray();
    }

    private static void Number(Utf8JsonWriter json, string name, double number)
    {
        json.WritePropertyName(name);
        OptionJson.WriteNumber(json, number);
    }

    /// <summary>A list on one line.</summary>
    private static void Numbers(Utf8JsonWriter json, string name, IEnumerable<double> numbers)
    {
        using var line = new MemoryStream();
        using (var list = new Utf8JsonWriter(line))
        {
            list.WriteStartArray();
            foreach (var number in numbers)
                OptionJson.WriteNumber(list, number);
            list.WriteEndArray();
        }
        json.WritePropertyName(name);
        json.WriteRawValue(line.GetBuffer().AsSpan(0, (int)line.Length), skipInputValidation: true);
    }
}
