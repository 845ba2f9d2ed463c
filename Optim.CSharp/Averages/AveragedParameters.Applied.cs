using Optim.Kernels;

namespace Optim;

// Averages lent to the live parameters.
public partial class AveragedParameters
{
    private Application? applied;

    /// <summary>Whether the live parameters have the values of the averages just now.</summary>
    public bool IsApplied => applied is not null;

    /// <summary>
    /// Gives the live parameters and buffers the values of the averages until what is returned is disposed: to evaluate the live model
    /// with them. What is changed meanwhile, such as statistics of batch normalization, stays with the averages; steps of optimizers,
    /// loads of weights and other averages are refused until then, as they would change the averages or take them for the live values.
    /// </summary>
    /// <exception cref="InvalidOperationException">They, or other averages of the same parameters, are applied already.</exception>
    public IDisposable Applied()
    {
        Owner?.Settle();
        RefuseApplied("Applied");
        AppliedAverages.Refuse("Applied", live);
        return applied = new(this);
    }

    internal void RefuseApplied(string call)
    {
        if (applied is not null)
            throw new InvalidOperationException(
                $"{call}: the live parameters have the values of the averages; dispose what Applied() returned first"
            );
    }

    /// <summary>While it lives, live parameters and averages have changed places.</summary>
    private sealed class Application : IDisposable
    {
        private readonly AveragedParameters average;
        private readonly TensorView[] kept;
        private bool ended;

        public Application(AveragedParameters average)
        {
            (this.average, kept) = (average, new TensorView[average.live.Length]);
            Swap();
            AppliedAverages.Add(average, average.live);
        }

        public void Dispose()
        {
            if (ended)
                return;
            Swap();
            AppliedAverages.Remove(average);
            (ended, average.applied) = (true, null);
        }

        private void Swap()
        {
            var rows = average.RefreshRows();
            // All of them before the first is written: one that is disposed throws.
            TensorView[] live = [.. average.live.Select(parameter => parameter.Data)];
            for (var row = 0; row < rows.Length; row++)
            {
                var data = live[row];
                if (!kept[row].IsAbsent)
                {
                    data.CopyFrom(kept[row]);
                    kept[row] = default;
                }
                else if (data.DType == rows[row].DType)
                {
                    var before = data.Copy();
                    data.CopyFrom(rows[row]);
                    rows[row].CopyFrom(before);
                }
                else
                {
                    // The average is wider than the parameter, and stays where it is.
                    kept[row] = data.Copy();
                    data.ConvertFrom(rows[row]);
                }
                average.live[row].AfterStep();
            }
            average.WriteSecond();
        }
    }
}
